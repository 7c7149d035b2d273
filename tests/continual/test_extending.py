"""Learning in steps: labels, rows, what is kept, what can be loaded again, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch

import lightadapt as la
from lightadapt.errors import ArtifactError, DataError, LightAdaptError

QUIET = {"disable_tqdm": True}
ONE = {
    "refund": ["Money back, please.", "I want a refund.", "Please return what I paid."],
    "delivery": ["Where is my parcel?", "It has not arrived yet.", "The delivery is late."],
}
TWO = {
    "thanks": ["Thank you so much!", "Great service, thanks.", "Many thanks to all of you."],
    "bye": ["Goodbye then.", "See you soon.", "So long."],
}
TEXTS = [text for part in (ONE, TWO) for texts in part.values() for text in texts]


def records(part: dict) -> list[dict]:
    return [{"text": text, "label": label} for label, texts in part.items() for text in texts]


def entities(kind: str, word: str, count: int = 3) -> list[dict]:
    return [{"tokens": ["I", "saw", word, "in", "Rome"], "tags": ["O", "O", f"B-{kind}", "O", "O"]}] * count


@pytest.fixture
def comparable(comparable_encoder):
    return comparable_encoder({"pooling_mode": "mean"})


@pytest.fixture(params=["prototypes", "linear"])
def learned(request, tiny, comparable):
    """An adaptation that has learned two classes, by a head of either form."""
    adapted = la.adapt(comparable if request.param == "prototypes" else tiny("bert"), "classification")
    adapted.fit(records(ONE), epochs=1, args=QUIET)
    assert (adapted.runner.adaptation.head.prototypes is not None) == (request.param == "prototypes")
    return adapted


def test_new_labels_come_behind_the_old_ones(learned):
    assert learned.labels == ["delivery", "refund"]
    found = learned.extend(records(TWO), epochs=1, args=QUIET)
    assert learned.labels == ["delivery", "refund", "bye", "thanks"]
    assert found.classes == ["bye", "thanks"]
    assert set(learned.predict(TEXTS)) <= set(learned.labels)
    learned.extend(records({"bye": ["Bye bye."], "also": ["Hm.", "Well."]}), epochs=1, args=QUIET)
    assert learned.labels == ["delivery", "refund", "bye", "thanks", "also"]
    assert [entry["classes"] for entry in learned.steps] == [["delivery", "refund"], ["bye", "thanks"], ["also"]]


def test_the_first_step_may_bring_more_than_the_labels_that_were_given(tiny):
    adapted = la.adapt(tiny("bert"), "classification", labels=["refund", "other"])
    adapted.extend(records(ONE), memory=1, epochs=1, args=QUIET)
    assert adapted.labels == ["refund", "other", "delivery"]
    assert [entry["classes"] for entry in adapted.steps] == [["delivery", "refund"]]


def test_records_are_kept_of_all_classes_also_of_those_that_a_fit_has_learned(learned):
    found = learned.extend(records(TWO), memory=2, epochs=1, args=QUIET)
    labels = [record["label"] for record in learned.remembered]
    assert {label: labels.count(label) for label in learned.labels} == dict.fromkeys(learned.labels, 2)
    assert all(record in records(ONE) + records(TWO) for record in learned.remembered)
    assert found.steps[-1]["replayed"] == (0 if learned.runner.past.statistics else 4)


def test_fewer_are_kept_of_all_where_fewer_are_wanted(learned):
    learned.extend(records(TWO), memory=2, epochs=1, args=QUIET)
    first = {record["label"]: record for record in reversed(learned.remembered)}
    learned.extend(records({"also": ["Hm.", "Well."]}), memory=1, epochs=1, args=QUIET)
    assert len(learned.remembered) == 5
    assert all(record in learned.remembered for record in first.values())


def test_none_are_kept_where_none_are_wanted(learned, tmp_path):
    learned.extend(records(TWO), memory=0, epochs=1, args=QUIET)
    assert learned.remembered == []
    learned.save(tmp_path / "a")
    assert not (tmp_path / "a" / "memory.jsonl").exists()
    assert not any(text in file.read_text() for text in TEXTS for file in (tmp_path / "a").glob("*.json"))


def test_old_rows_stay_where_they_are_in_their_own_step_without_memory(tiny):
    """The loss over the step's own classes leaves the others no gradient but that of the distance to before."""
    adapted = la.adapt(tiny("bert"), "classification", "probe")
    adapted.fit(records(ONE), epochs=1, args=QUIET)
    before = adapted.model.classifier.weight.detach().clone()
    adapted.extend(records(TWO), memory=0, epochs=1, args={**QUIET, "max_steps": 1, "weight_decay": 0.0})
    moved = (adapted.model.classifier.weight.detach()[:2] - before).abs().max()
    assert float(moved) < 0.02


def test_a_step_without_memory_changes_nothing_of_what_is_known_of_old_classes(comparable):
    adapted = la.adapt(comparable, "classification")
    adapted.extend(records(ONE), memory=0, epochs=1, args=QUIET)
    known = {name: each.clone() for name, each in adapted.runner.past.statistics.items()}
    lora = {name: each.clone() for name, each in adapted.runner.adaptation.tensors().items() if "lora" in name}
    adapted.extend(records(TWO), memory=0, args=QUIET)
    now = adapted.runner.past.statistics
    assert torch.equal(now["means"][:2], known["means"])
    assert all(torch.equal(each, adapted.runner.adaptation.tensors()[name]) for name, each in lora.items())


def test_classes_in_steps_are_told_apart_as_if_they_had_come_at_once(comparable):
    """With the adapter as it is, only the order of the labels can tell how the classes came."""
    given = []
    for parts in ([ONE, TWO], [{**ONE, **TWO}]):
        adapted = la.adapt(comparable, "classification")
        adapted.extend(
            records({"x": ["One of these.", "Two of those."], "y": ["A", "B"]}), args={**QUIET, "max_steps": 1}
        )
        adapted.runner.past = adapted.runner.past.__class__(
            steps=adapted.runner.past.steps, statistics=adapted.runner.past.statistics
        )
        for part in parts:
            adapted.extend(records(part), memory=0)
        given.append(adapted.predict(TEXTS, scores=True))
    for one, other in zip(*given, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_the_artifact_holds_memory_and_steps(learned, tmp_path):
    before = learned.predict(TEXTS, scores=True)
    learned.extend(records(TWO), memory=1, validation=records(ONE) + records(TWO), epochs=1, args=QUIET)
    learned.save(tmp_path / "a")
    lines = [json.loads(line) for line in (tmp_path / "a" / "memory.jsonl").read_text().splitlines()]
    assert [line["record"] for line in lines] == learned.remembered
    manifest = json.loads((tmp_path / "a" / "lightadapt.json").read_text())
    assert "memory.jsonl" in manifest["digests"]
    assert [entry["records"] for entry in manifest["steps"]] == [6, 6]
    again = la.load(tmp_path / "a")
    assert again.remembered == learned.remembered
    assert again.steps.table() == learned.steps.table()
    assert again.predict(TEXTS, scores=True) == learned.predict(TEXTS, scores=True)
    first = la.load(tmp_path / "a", step=0)
    assert first.labels == ["delivery", "refund"]
    assert first.predict(TEXTS, scores=True) == before
    assert {record["label"] for record in first.remembered} == {"delivery", "refund"}
    assert la.load(tmp_path / "a", step=1).labels == learned.labels
    again.extend(records({"also": ["Hm.", "Well."]}), epochs=1, args=QUIET)
    again.save(tmp_path / "a")
    assert la.load(tmp_path / "a", step=0).predict(TEXTS, scores=True) == before
    assert la.load(tmp_path / "a", step=1).labels == learned.labels


def test_what_is_not_there_cannot_be_loaded(learned, tmp_path):
    learned.save(tmp_path / "plain")
    with pytest.raises(ArtifactError, match="was never extended"):
        la.load(tmp_path / "plain", step=0)
    learned.extend(records(TWO), memory=1, keep_weights=False, epochs=1, args=QUIET)
    learned.save(tmp_path / "a")
    with pytest.raises(ArtifactError, match="has the steps 0 to 1"):
        la.load(tmp_path / "a", step=2)
    with pytest.raises(ArtifactError, match="does not hold the weights of that step"):
        la.load(tmp_path / "a", step=0)
    (tmp_path / "a" / "memory.jsonl").write_text("[1]\n")
    with pytest.raises(ArtifactError, match=r"memory\.jsonl"):
        la.load(tmp_path / "a")
    with pytest.raises(ArtifactError, match=r"memory\.jsonl is damaged"):
        la.load(tmp_path / "a", verify=False)


def test_the_memory_can_be_dropped_and_filled_again(learned, tmp_path):
    learned.extend(records(TWO), memory=2, epochs=1, args=QUIET)
    learned.forget_memory()
    assert learned.remembered == []
    learned.save(tmp_path / "a")
    assert not (tmp_path / "a" / "memory.jsonl").exists()
    again = la.load(tmp_path / "a")
    again.remember(records(ONE), memory=1)
    assert sorted(record["label"] for record in again.remembered) == ["delivery", "refund"]
    again.extend(records({"also": ["Hm.", "Well."]}), memory=1, epochs=1, args=QUIET)
    assert again.steps[-1]["replayed"] == (0 if again.runner.past.statistics else 2)


def test_old_and_new_classes_are_scored(learned):
    everything = records(ONE) + records(TWO)
    found = learned.extend(records(TWO), validation=everything, epochs=1, args=QUIET)
    matrix = found.steps.scores.matrix
    assert [set(row) for row in matrix] == [{0}, {0, 1}]
    given = learned.predict([record["text"] for record in records(ONE)])
    right = [label == record["label"] for label, record in zip(given, records(ONE), strict=True)]
    assert matrix[1][0] == pytest.approx(sum(right) / len(right))
    for word in ("forgetting", "backward transfer", "new classes", "accuracy on validation records"):
        assert word in str(found)
    assert "<table" in found._repr_html_()


def test_entity_types_can_be_added(tiny):
    adapted = la.adapt(tiny("bert"), "ner")
    adapted.extend(entities("PER", "Maria"), memory=1, epochs=8, args=QUIET)
    adapted.extend(
        entities("ORG", "Acme"),
        memory=1,
        epochs=8,
        args=QUIET,
        validation=entities("PER", "Maria") + entities("ORG", "Acme"),
    )
    assert adapted.labels == ["PER", "ORG"]
    assert adapted.runner.outputs == ("O", "B-PER", "I-PER", "B-ORG", "I-ORG")
    assert len(adapted.remembered) == 2
    assert set(adapted.steps.scores.matrix[1]) == {0, 1}


def test_several_labels_a_record_can_be_added(tiny, tmp_path):
    adapted = la.adapt(tiny("bert"), "multilabel")
    first = [{"text": "late and broken", "labels": ["late", "broken"]}, {"text": "late", "labels": ["late"]}]
    adapted.extend(first * 2, memory=1, epochs=2, args=QUIET)
    adapted.extend(
        [{"text": "so rude", "labels": ["rude"]}, {"text": "fine", "labels": []}], memory=1, epochs=2, args=QUIET
    )
    assert adapted.labels == ["broken", "late", "rude"]
    assert {label for record in adapted.remembered for label in record["labels"]} == {"late", "broken", "rude"}
    adapted.save(tmp_path / "a")
    assert la.load(tmp_path / "a", step=0).labels == ["broken", "late"]


def test_texts_are_replayed_where_there_are_no_classes(tiny):
    adapted = la.adapt(tiny("llama"), "generation")
    adapted.extend([{"prompt": "my order", "completion": "is late"}] * 3, memory=1, epochs=1, args=QUIET)
    found = adapted.extend([{"prompt": "where is", "completion": "the parcel"}] * 3, memory=1, epochs=1, args=QUIET)
    assert found.steps[-1]["replayed"] == 3
    assert {record["prompt"] for record in adapted.remembered} == {"my order", "where is"}


def test_decoders_and_pairs_of_texts_go_on_too(tiny):
    adapted = la.adapt(tiny("llama"), "classification")
    for part in (ONE, TWO):
        pairs = [{**record, "text_pair": "and so on"} for record in records(part)]
        adapted.extend(pairs, memory=1, epochs=1, args=QUIET)
    assert adapted.labels == ["delivery", "refund", "bye", "thanks"]


@pytest.mark.parametrize(
    ("data", "options", "says"),
    [
        (records({"Refund": ["Give it back."]}), {}, r"label 'Refund' is new, and there is 'refund'"),
        (records({"some thing": ["A"], "some-thing": ["B"]}), {}, "is new, and there is"),
        (
            records({"caf\u00e9": ["A"], "cafe\u0301": ["B"]}),
            {},
            r"label 'caf\\xe9' is new, and there is 'cafe\\u0301'",
        ),
        ([{"text": "a", "labels": ["x"]}], {}, "label"),
        ([{"text": "a", "label": 7}], {}, "Give names only, or class numbers only"),
        ([], {}, "record"),
        (records(TWO), {"memory": -1}, "memory=-1"),
        (records(TWO), {"memory": 2.5}, "memory=2.5"),
        (records(TWO), {"memory": 5000}, "Give at most memory=2500"),
        (records(TWO), {"learning_rate": -1.0}, "learning_rate"),
        (records(TWO), {"validation": records({"other": ["A"]})}, "other"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_changes(learned, data, options, says):
    before = {name: each.clone() for name, each in learned.runner.adaptation.tensors().items()}
    past = learned.runner.past
    with pytest.raises((DataError, LightAdaptError), match=says):
        learned.extend(data, **{"args": QUIET, **options})
    assert learned.labels == ["delivery", "refund"]
    assert learned.runner.past is past
    assert all(torch.equal(each, learned.runner.adaptation.tensors()[name]) for name, each in before.items())


def test_nothing_can_be_kept_of_what_has_learned_nothing(tiny):
    with pytest.raises(LightAdaptError, match="nothing has been learned yet"):
        la.adapt(tiny("bert"), "classification", labels=["a", "b"]).remember([{"text": "a", "label": "a"}])
