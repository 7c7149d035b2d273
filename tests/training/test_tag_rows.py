"""A tag head with few sentences: its rows start at the means of the tokens of their tags."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lightadapt as la
from lightadapt.errors import LightAdaptError
from lightadapt.training.few_shot import FEW
from lightadapt.training.tag_rows import SURE, rows_of

QUIET = {"disable_tqdm": True}
PEOPLE, PLACES = ("Maria", "Peter", "Anna"), ("Rome", "Berlin", "Paris")
SENTENCES = [
    {"tokens": [person, "lives", "in", place], "tags": ["B-PER", "O", "O", "B-LOC"]}
    for person in PEOPLE
    for place in PLACES
]


def test_rows_are_those_of_the_formula():
    rng = np.random.default_rng(0)
    inputs, tags = rng.normal(size=(40, 5)), rng.integers(0, 3, 40)
    tags[tags == 2] = 3  # nothing has the tag 2
    rows, biases = rows_of(inputs, tags, 4)
    means = {tag: inputs[tags == tag].mean(0) for tag in (0, 1, 3)}
    spread = np.mean([np.square(each - means[tag]).sum() for each, tag in zip(inputs, tags, strict=True)])
    for one, other in ((0, 1), (0, 3)):
        shares = [(np.sum(tags == tag) + 1) / 44 for tag in (one, other)]
        apart = [SURE / 2 * np.square(inputs - means[tag]).sum(1) / spread for tag in (one, other)]
        expected = np.log(shares[0]) - apart[0] - np.log(shares[1]) + apart[1]
        logits = inputs @ rows.T + biases
        assert np.allclose(logits[:, one] - logits[:, other], expected)
    assert not rows[2].any()
    assert biases[2] == pytest.approx(np.log(1 / 44))


@pytest.mark.parametrize("copies", [1, 4])
def test_one_sentence_is_learned_without_rows_that_are_sure_of_everything(tiny, copies):
    adapted = la.adapt(tiny("bert"), "ner")
    history = adapted.fit(SENTENCES[:1] * copies, args=QUIET)
    assert history.settings["recipe"] == "few-shot"
    assert float(adapted.model.classifier.weight.detach().abs().max()) < 10
    assert adapted.evaluate(SENTENCES[:1])["f1"] == 1


def test_few_sentences_take_the_recipe_and_more_do_not(tiny):
    adapted = la.adapt(tiny("bert"), "ner")
    history = adapted.fit(SENTENCES, args=QUIET)
    assert history.settings["recipe"] == "few-shot"
    assert history.steps == 60
    assert adapted.runner.adaptation.head.prototypes is None
    assert adapted.fit(SENTENCES, epochs=1, args=QUIET).settings["recipe"] == "standard"  # it has learned by now
    with pytest.raises(LightAdaptError, match="the head has learned something already"):
        adapted.fit(SENTENCES, recipe="few-shot")
    many = la.adapt(tiny("bert"), "ner").fit(SENTENCES * (FEW // 9 + 1), epochs=1, args=QUIET)
    assert many.settings["recipe"] == "standard"
    asked = la.adapt(tiny("bert"), "ner").fit(SENTENCES, recipe="standard", epochs=1, args=QUIET)
    assert asked.settings["recipe"] == "standard"
    with pytest.raises(LightAdaptError, match="it is for encoders"):
        la.adapt(tiny("llama"), "ner").fit(SENTENCES, recipe="few-shot")


@pytest.mark.parametrize("name", ["bert", "distilbert", "roberta", "deberta-v2"])
def test_tags_are_told_apart_from_the_start(tiny, name):
    """With a step that is next to nothing, the rows alone have to tell them."""
    found = {}
    for recipe in ("few-shot", "standard"):
        adapted = la.adapt(tiny(name), "ner")
        adapted.fit(SENTENCES, recipe=recipe, learning_rate=6e-5, args={**QUIET, "max_steps": 1})
        found[recipe] = adapted.evaluate(SENTENCES)["f1"]
    assert found["few-shot"] > 0.8 > found["standard"]


def test_what_started_so_goes_on_is_saved_and_merged(tiny, tmp_path):
    adapted = la.adapt(tiny("bert"), "ner")
    adapted.fit(SENTENCES, epochs=1, args=QUIET)
    adapted.save(tmp_path / "saved")
    texts = [each["tokens"] for each in SENTENCES[:3]]
    assert la.load(tmp_path / "saved").predict(texts) == adapted.predict(texts)
    assert torch.equal(adapted.merge().classifier.weight, adapted.model.classifier.weight)
    more = [{"tokens": ["I", "like", "cheese"], "tags": ["O", "O", "B-FOOD"]}] * 3
    adapted.extend(more, epochs=1, args=QUIET)
    assert adapted.labels == ["LOC", "PER", "FOOD"]


def test_a_first_step_of_extend_starts_so_too(tiny):
    adapted = la.adapt(tiny("bert"), "ner")
    found = adapted.extend(SENTENCES, args={**QUIET, "max_steps": 2})
    assert found.history.settings["recipe"] == "few-shot"
