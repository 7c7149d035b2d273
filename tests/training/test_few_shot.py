"""Training with a few records of each class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from learned import StopAt
from torch.nn.functional import normalize

import lightadapt as la
from lightadapt.errors import LightAdaptError
from lightadapt.heads.prototypes import SCALE
from lightadapt.tasks.losses.contrastive import supervised_contrast
from lightadapt.training.few_shot import _left_out_loss, find_start

TEXTS = {
    "refund": ["Money back, please.", "I want a refund.", "Please return what I paid."],
    "delivery": ["Where is my parcel?", "It has not arrived yet.", "The delivery is late."],
    "thanks": ["Thank you so much!", "Great service, thanks.", "Many thanks to all of you."],
}
SHOTS = [{"text": text, "label": label} for label, texts in TEXTS.items() for text in texts]


def test_contrast_is_the_formula_of_the_paper():
    generator = torch.Generator().manual_seed(0)
    vectors = normalize(torch.randn(6, 5, generator=generator), dim=-1)
    labels = torch.tensor([0, 0, 1, 1, 1, 2])
    total, count = 0.0, 0
    for anchor in range(6):
        others = [other for other in range(6) if other != anchor]
        below = sum(float((vectors[anchor] @ vectors[other] / 0.1).exp()) for other in others)
        alike = [other for other in others if labels[other] == labels[anchor]]
        if alike:
            count += 1
            total -= sum(
                float(np.log(float((vectors[anchor] @ vectors[each] / 0.1).exp()) / below)) for each in alike
            ) / len(alike)
    assert float(supervised_contrast(vectors, labels)) == pytest.approx(total / count, rel=1e-4)


def test_contrast_of_rows_that_share_no_label_is_zero_and_has_gradients():
    vectors = torch.randn(3, 5, requires_grad=True)
    loss = supervised_contrast(normalize(vectors, dim=-1), torch.tensor([0, 1, 2]))
    loss.backward()
    assert loss.item() == 0
    assert vectors.grad is not None
    assert bool(vectors.grad.isfinite().all())


@pytest.fixture
def comparable(comparable_encoder):
    return comparable_encoder({"pooling_mode": "mean"})


def test_few_records_of_a_sentence_encoder_take_the_recipe(comparable):
    adapted = la.adapt(comparable, "classification")
    history = adapted.fit(SHOTS, epochs=1)
    assert history.settings["recipe"] == "few-shot"
    assert adapted.runner.adaptation.head.prototypes is not None


@pytest.mark.parametrize(
    ("each", "classes", "recipe"), [(128, 2, "few-shot"), (65, 4, "standard"), (64, 5, "few-shot")]
)
def test_few_are_few_of_each_class_or_few_in_all(comparable, each, classes, recipe):
    records = [{"text": f"message {number}", "label": f"class {number % classes}"} for number in range(each * classes)]
    history = la.adapt(comparable, "classification").fit(records, args={"max_steps": 1})
    assert history.settings["recipe"] == recipe


def test_many_take_as_long_as_usual_where_it_is_asked_for(comparable):
    records = [{"text": f"message {number}", "label": f"class {number % 4}"} for number in range(260)]
    few, usual = (
        la.adapt(comparable, "classification", "probe").fit(records, recipe=recipe, batch_tokens=2_000).settings
        for recipe in ("few-shot", "standard")
    )
    assert few["recipe"] == "few-shot"
    assert few["epochs"] == usual["epochs"] == 20


def test_rows_start_at_the_means_of_their_classes(comparable):
    adapted = la.adapt(comparable, "classification")
    numbered = [{**each, "label": list(TEXTS).index(each["label"])} for each in SHOTS]  # which mean nothing
    adapted.fit(numbered, args={"max_steps": 1}, learning_rate=6e-5)  # which is next to nothing
    rows = adapted.runner.adaptation.head.prototypes.rows
    for name, row in zip(adapted.runner.outputs, rows, strict=True):
        vectors = []
        for text in list(TEXTS.values())[int(name)]:
            inputs = adapted.tokenizer(text, return_tensors="pt")
            with torch.no_grad():
                hidden = adapted.model.base_model(inputs["input_ids"]).last_hidden_state[0]
            vectors.append(normalize(hidden.mean(0), dim=-1))
        mean = normalize(torch.stack(vectors).mean(0), dim=-1)
        assert float(normalize(row.detach(), dim=-1) @ mean) == pytest.approx(1, abs=1e-3)


def test_logits_are_scaled_cosines(comparable):
    adapted = la.adapt(comparable, "classification")
    adapted.fit(SHOTS, epochs=2)
    inputs = adapted.tokenizer(["Where is it?", "Thank you"], padding=True, return_tensors="pt")
    inputs.pop("token_type_ids", None)
    with torch.no_grad():
        given = adapted.model(**inputs)
        hidden = adapted.model.base_model(**inputs).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    vectors = normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    rows = normalize(adapted.runner.adaptation.head.prototypes.rows, dim=-1)
    assert torch.allclose(given.logits, SCALE * vectors @ rows.T, atol=1e-5)
    scores = adapted.predict(["Where is it?"], scores=True)[0]
    assert list(scores.values()) == pytest.approx(given.logits.softmax(-1)[0].tolist(), abs=1e-5)


@pytest.mark.parametrize("change", ["many", "standard", "plain", "pairs"])
def test_other_data_and_models_take_the_standard(tiny, comparable, change):
    model = tiny("bert") if change == "plain" else comparable
    data = [{**record, "text": f"{record['text']} {number}"} for number in range(30) for record in SHOTS]
    data = data if change == "many" else SHOTS
    data = [{**record, "text_pair": "a"} for record in data] if change == "pairs" else data
    adapted = la.adapt(model, "classification", "probe")
    history = adapted.fit(data, epochs=1, recipe="standard" if change == "standard" else None)
    assert history.settings["recipe"] == "standard"
    assert adapted.runner.adaptation.head.prototypes is None


def test_it_can_be_asked_for_where_nothing_says_how_vectors_are_made(tiny):
    adapted = la.adapt(tiny("roberta"), "classification")
    assert adapted.fit(SHOTS, epochs=1, recipe="few-shot").settings["recipe"] == "few-shot"
    assert adapted.runner.adaptation.head.prototypes.pooling == "mean"


@pytest.mark.parametrize(
    ("model", "task", "recipe", "says"),
    [
        ("bert", "classification", "fewshot", "few-shot"),
        ("llama", "classification", "few-shot", "it is for encoders"),
        ("bert", "multilabel", "few-shot", "at least 10 labels, and there are 3"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_changes(tiny, model, task, recipe, says):
    adapted = la.adapt(tiny(model), task)
    data = [{"text": each["text"], "labels": [each["label"]]} for each in SHOTS] if task == "multilabel" else SHOTS
    with pytest.raises(LightAdaptError, match=says):
        adapted.fit(data, recipe=recipe)
    assert adapted.labels is None


def test_a_head_that_has_learned_keeps_its_form(comparable):
    adapted = la.adapt(comparable, "classification")
    adapted.fit(SHOTS, epochs=1, recipe="standard")
    with pytest.raises(LightAdaptError, match="has learned something already"):
        adapted.fit(SHOTS, epochs=1, recipe="few-shot")
    assert adapted.fit(SHOTS, epochs=1).settings["recipe"] == "standard"


def test_prototypes_go_on_learning_by_either_recipe(comparable):
    adapted = la.adapt(comparable, "classification")
    adapted.fit(SHOTS, epochs=1)
    before = adapted.runner.adaptation.head.prototypes.rows.detach().clone()
    for recipe in ("few-shot", "standard"):
        assert adapted.fit(SHOTS, epochs=1, recipe=recipe).settings["recipe"] == recipe
    assert not torch.equal(before, adapted.runner.adaptation.head.prototypes.rows)


@pytest.mark.parametrize("method", ["lora", "prefix", "prompt", "full", "probe", "bitfit"])
def test_it_is_saved_and_loaded(comparable, tmp_path, method):
    adapted = la.adapt(comparable, "classification", method)
    adapted.fit(SHOTS, epochs=2)
    adapted.save(tmp_path / "a")
    texts = [record["text"] for record in SHOTS]
    expected = adapted.predict(texts, scores=True)
    loaded = [la.load(tmp_path / "a")]
    if method != "full":  # it cannot share a base
        base = la.adapt(comparable, "ner", labels=["A"])
        loaded.append(la.load(tmp_path / "a", onto=base, name="x").use("x"))
    for each in loaded:
        found = each.predict(texts, scores=True)
        for one, other in zip(found, expected, strict=True):
            assert list(one.values()) == pytest.approx(list(other.values()), abs=1e-5)


def test_the_rest_of_the_head_neither_learns_nor_is_saved(comparable, tmp_path):
    adapted = la.adapt(comparable, "classification")
    adapted.fit(SHOTS, epochs=1)
    trained = [name for name, each in adapted.model.named_parameters() if each.requires_grad and "lora" not in name]
    assert trained == ["classifier.weight"]
    assert not any("pooler" in name or "bias" in name for name in adapted.runner.adaptation.tensors())


def test_labels_can_be_added(comparable):
    adapted = la.adapt(comparable, "classification")
    adapted.fit(SHOTS, epochs=1)
    before = adapted.runner.adaptation.head.prototypes.rows.detach().clone()
    adapted.add_labels(["other"])
    rows = adapted.runner.adaptation.head.prototypes.rows
    assert torch.equal(rows[:3], before)
    assert set(adapted.predict(["hi"], scores=True)[0]) == {*TEXTS, "other"}


def test_it_goes_on_from_a_checkpoint(comparable, tmp_path):
    whole = la.adapt(comparable, "classification")
    whole.fit(SHOTS, epochs=4)
    part = la.adapt(comparable, "classification")
    with pytest.raises(KeyboardInterrupt):
        part.fit(SHOTS, epochs=4, output_dir=tmp_path / "c", callbacks=[StopAt(2)])
    again = la.adapt(comparable, "classification")
    again.fit(SHOTS, epochs=4, output_dir=tmp_path / "c", resume=True)
    for one, other in zip(
        whole.runner.adaptation.tensors().values(), again.runner.adaptation.tensors().values(), strict=True
    ):
        assert torch.equal(one, other)


def test_validation_comes_a_few_times(comparable):
    adapted = la.adapt(comparable, "classification")
    history = adapted.fit(SHOTS, SHOTS)
    assert 2 <= len(history.epochs) <= 5
    assert history.best is not None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of sentence-transformers about its own modules
def test_a_graph_and_vectors_alone_leave_with_what_they_are(comparable, tmp_path):
    adapted = la.adapt(comparable, "classification")
    adapted.fit(SHOTS, epochs=1)
    pytest.importorskip("onnxscript")
    found = adapted.export(tmp_path / "graph", "onnx", check=SHOTS)
    assert found.equal == 1.0
    texts = [each["text"] for each in SHOTS]
    assert la.load_onnx(tmp_path / "graph").predict(texts) == adapted.predict(texts)
    pytest.importorskip("sentence_transformers")
    assert adapted.export(tmp_path / "vectors", "sentence-transformers").difference < 1e-4


def test_what_reads_heads_in_another_way_is_refused(comparable, tmp_path):
    adapted = la.adapt(comparable, "classification")
    adapted.fit(SHOTS, epochs=1)
    with pytest.raises(LightAdaptError, match="prototypes"):
        adapted.merge()
    for format in ("merged", "lora"):
        with pytest.raises(LightAdaptError, match="prototypes"):
            adapted.export(tmp_path / format, format)


def test_many_adaptations_mix(comparable):
    adapted = la.adapt(comparable, "classification")
    adapted.fit(SHOTS, epochs=1)
    adapted.add("second", method="lora", task="classification", labels=["a", "b"])
    adapted.use("second")
    adapted.fit([{"text": "x y", "label": "a"}, {"text": "z", "label": "b"}] * 2, epochs=1)
    texts = ["Where is it?", "thanks"]
    alone = [adapted.predict(texts, adapter=name, scores=True) for name in adapted.names]
    mixed = adapted.predict(texts * 2, adapter=["default", "default", "second", "second"], scores=True)
    for one, other in zip([*alone[0], *alone[1]], mixed, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_texts_without_labels_are_labelled_and_learned(comparable):
    adapted = la.adapt(comparable, "classification")
    history = adapted.fit(SHOTS, unlabelled=["Give it back!", "A refund now.", "So late", "Not here", "Thanks", "Ta"])
    assert history.settings["unlabelled"]["given"] == 6
    assert 3 <= history.settings["unlabelled"]["learned"] <= 5
    assert adapted.runner.last_run.settings["records"] == len(SHOTS) + history.settings["unlabelled"]["learned"]


@pytest.mark.parametrize(
    ("task", "options", "says"),
    [
        ("ner", {"unlabelled": ["a"]}, "is for task 'classification'"),
        ("classification", {"unlabelled": []}, "no record"),
        ("classification", {"unlabelled": [{"txt": "a"}]}, "text"),
        ("classification", {"unlabelled": ["a"], "output_dir": "x"}, "two runs"),
    ],
)
def test_unlabelled_texts_that_cannot_be_used_are_refused_first(comparable, task, options, says):
    adapted = la.adapt(comparable, task)
    data = SHOTS if task == "classification" else [{"tokens": ["a"], "tags": ["B-X"]}]
    with pytest.raises(LightAdaptError, match=says):
        adapted.fit(data, **options)
    assert adapted.history is None


def test_what_labels_mean_counts_where_it_tells_the_records_apart(comparable):
    telling = la.adapt(comparable, "classification", labels=TEXTS)  # the one left out is among the descriptions
    assert find_start(telling.runner, telling.runner.prepare(SHOTS)).by_meaning
    one = dict.fromkeys(TEXTS, "the same for all")  # nothing is left of it
    empty = la.adapt(comparable, "classification", labels=one)
    assert not find_start(empty.runner, empty.runner.prepare(SHOTS)).by_meaning


def test_rows_that_start_at_meanings_stay(comparable):
    adapted = la.adapt(comparable, "classification", labels=TEXTS)
    start = find_start(adapted.runner, adapted.runner.prepare(SHOTS))
    history = adapted.fit(SHOTS, epochs=3)
    assert history.settings["head_learning_rate"] == 0
    assert history.settings["learning_rate"] == pytest.approx(3e-4)
    rows = adapted.runner.adaptation.head.prototypes.rows.detach().numpy()
    assert np.allclose(rows, start.rows, atol=1e-6)


def test_an_example_is_left_out_of_the_mean_of_its_class():
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(7, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    places = np.array([0, 0, 0, 1, 1, 1, 1])
    added = 0.3 * generator.normal(size=(2, 4))
    total = 0.0
    for left in range(7):
        rows = []
        for place in range(2):
            mine = [index for index in range(7) if places[index] == place and index != left]
            mean = vectors[mine].sum(0)
            row = mean / np.linalg.norm(mean) + added[place]
            rows.append(row / np.linalg.norm(row))
        logits = SCALE * np.array(rows) @ vectors[left]
        total += np.log(np.exp(logits).sum()) - logits[places[left]]
    sums = np.stack([vectors[places == place].sum(0) for place in range(2)])
    assert _left_out_loss(vectors, places, sums, added) == pytest.approx(total / 7)
