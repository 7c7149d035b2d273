"""Labels told by statements that follow from the text: against the logits of the checkpoint's own head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

import lightadapt as la
from lightadapt.zero_shot.entailment import Columns, Entailment, columns_of

LABELS = {
    "refund": "The customer wants the money back.",
    "delivery": ["It is late.", "Where is it?"],
    "thanks": "hello",
}
TEXTS = ["I want my money back", "hello", "where is the parcel of my friend"]
ORDERS = [
    ["contradiction", "neutral", "entailment"],
    ["ENTAILMENT", "NEUTRAL", "CONTRADICTION"],
    ["not_entailment", "entailment"],
]


@pytest.fixture
def entailing(tiny, tmp_path):
    """A tiny model with a head whose outputs have these names."""

    def make(names, kind="bert"):
        folder = tmp_path / f"{kind}-{names[0]}"
        config = AutoConfig.from_pretrained(tiny(kind), id2label=dict(enumerate(names)), label2id={})
        torch.manual_seed(3)
        model = AutoModelForSequenceClassification.from_pretrained(tiny(kind), config=config)
        with torch.no_grad():  # a head that has learned something tells texts apart
            for parameter in (each for name, each in model.named_parameters() if "classif" in name or "score" in name):
                parameter.mul_(20)
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(tiny(kind)).save_pretrained(folder)
        return folder

    return make


def logs_of(folder, text, hypothesis):
    """The log probabilities of the checkpoint's own classes, by their names in small letters."""
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    inputs = AutoTokenizer.from_pretrained(folder)(text, hypothesis, return_tensors="pt")
    with torch.no_grad():
        logits = model(inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[0]
    return {
        model.config.id2label[number].lower(): value for number, value in enumerate(logits.log_softmax(-1).tolist())
    }


def score_of(folder, text, wordings, score):
    return np.mean([score(logs_of(folder, text, wording)) for wording in wordings])


WORDINGS = [[each] if isinstance(each, str) else each for each in LABELS.values()]


@pytest.mark.parametrize("names", ORDERS)
@pytest.mark.parametrize("method", ["lora", "prompt"])
def test_one_label_is_the_one_most_surely_entailed(entailing, names, method):
    folder = entailing(names)
    adapted = la.adapt(folder, "classification", method, labels=LABELS)
    assert isinstance(adapted.runner.zero_shot, Entailment)
    for text, found in zip(TEXTS, adapted.predict(TEXTS, scores=True), strict=True):
        logs = np.array([score_of(folder, text, each, lambda logs: logs["entailment"]) for each in WORDINGS])
        assert list(found.values()) == pytest.approx(np.exp(logs) / np.exp(logs).sum(), abs=1e-4)


@pytest.mark.parametrize("names", ORDERS)
def test_of_several_labels_each_is_entailed_or_contradicted(entailing, names):
    folder = entailing(names)
    adapted = la.adapt(folder, "multilabel", labels=LABELS)
    against = "not_entailment" if len(names) == 2 else "contradiction"
    found = adapted.predict(TEXTS, scores=True)
    for text, each in zip(TEXTS, found, strict=True):
        odds = [score_of(folder, text, known, lambda logs: logs["entailment"] - logs[against]) for known in WORDINGS]
        assert list(each.values()) == pytest.approx(1 / (1 + np.exp(-np.array(odds))), abs=1e-4)
    assert adapted.predict(TEXTS) == [[label for label, value in each.items() if value >= 0.5] for each in found]


def test_a_name_is_asked_about_in_a_sentence(entailing):
    folder = entailing(ORDERS[0])
    adapted = la.adapt(folder, "classification", labels=["card_arrival", "refund"])
    written = ["This example is about card arrival.", "This example is about refund."]
    described = la.adapt(folder, "classification", labels=dict(zip(adapted.labels, written, strict=True)))
    assert adapted.predict(TEXTS, scores=True) == described.predict(TEXTS, scores=True)


def test_an_encoder_decoder_can_be_asked_too(entailing):
    adapted = la.adapt(entailing(ORDERS[0], "bart"), "classification", labels=LABELS)
    assert isinstance(adapted.runner.zero_shot, Entailment)
    (one, _, _), alone = adapted.predict(TEXTS, scores=True), adapted.predict(TEXTS[:1], scores=True)[0]
    assert list(one.values()) == pytest.approx(list(alone.values()), abs=1e-5)


def test_windows_of_a_long_text_are_asked_one_by_one(entailing):
    folder, long = entailing(ORDERS[0]), "where is the parcel of my friend " * 20
    task = la.Classification(overflow="windows")
    assert la.adapt(folder, task, labels=LABELS).predict(["hello", long], scores=True)[1] != pytest.approx(
        la.adapt(folder, "classification", labels=LABELS).predict(["hello", long], scores=True)[1], abs=1e-6
    )
    refusing = la.adapt(folder, la.Classification(overflow="error"), labels=LABELS)
    with pytest.raises(la.DataError, match="Record 1"):
        refusing.predict(["hello", long])


def test_it_ends_with_training_and_labels_of_entailment_are_the_head_s_own(entailing, tmp_path):
    folder = entailing(ORDERS[0])
    adapted = la.adapt(folder, "classification", labels=LABELS)
    before = adapted.predict(TEXTS, scores=True)
    adapted.save(tmp_path / "saved")
    assert la.load(tmp_path / "saved").predict(TEXTS, scores=True) == before
    adapted.fit([{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)], epochs=1)
    assert adapted.runner.zero_shot is None
    assert la.adapt(folder, "classification", labels=ORDERS[0]).runner.zero_shot is None


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (["contradiction", "neutral", "entailment"], Columns(2, (0,))),
        (["Entailment", "Neutral", "Contradiction"], Columns(0, (2,))),
        (["entailment", "not_entailment"], Columns(0, (1,))),
        (["entailment", "other", "none"], Columns(0, (1, 2))),
        (["good", "bad"], None),
        (["entailment", "entailed"], None),
    ],
)
def test_columns_are_found_by_their_names(names, columns):
    config = AutoConfig.for_model(
        "bert", id2label=dict(enumerate(names)), architectures=["BertForSequenceClassification"]
    )
    assert columns_of(config) == columns
    config.architectures = ["BertForTokenClassification"]
    assert columns_of(config) is None
