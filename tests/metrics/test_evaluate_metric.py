"""`evaluate` gets the numbers that our functions give, offline and without files."""

from __future__ import annotations

import socket

import evaluate
import numpy as np
import pytest

from lightadapt import LightAdaptError
from lightadapt.data.spans import Span
from lightadapt.metrics import (
    METRICS,
    TEXT_METRICS,
    classification_scores,
    entity_scores,
    load_metric,
    multilabel_scores,
    question_scores,
    regression_scores,
    relation_scores,
    text_scores,
)

CAUSE, EFFECT = "Cause-Effect(e1,e2)", "Cause-Effect(e2,e1)"
REFERENCES = [
    ["the cat sat on the mat .", "a cat sat on a mat ."],
    ["there is a dog", "a dog is there"],
    ["год 1991", "x"],
]
PREDICTIONS = ["a cat sat on the mat .", "", "год 1991 "]
SPANS = [[Span(0, 2, "PER"), Span(3, 4, "LOC")], [], [Span(0, 1, "LOC")]]
FOUND = [[Span(0, 2, "PER")], [Span(1, 2, "LOC")], [Span(0, 1, "LOC")]]
TAGS = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "O"], ["S-LOC"]]
TAGGED = [["B-PER", "E-PER", "O", "O"], ["O", "I-LOC"], ["B-LOC"]]


def as_dicts(records):
    """Entities as `predict` returns them."""
    return [[{**span._asdict(), "text": "…", "score": 0.9} for span in record] for record in records]


CASES = {
    "classification": (["a", 1, "a"], ["a", "1", "b"], lambda g, p: classification_scores(g, p)[0]),
    "multilabel": ([["a", "b"], [], ["c"]], [{"a"}, [], ("b",)], lambda g, p: multilabel_scores(g, p, "abc")[0]),
    "relation": ([CAUSE, EFFECT, "Other"], [CAUSE, CAUSE, "Other"], lambda g, p: relation_scores(g, p, [])[0]),
    "entities": (TAGS, TAGGED, lambda g, p: entity_scores(SPANS, FOUND)[0]),
    "regression": ([1, 2.5, 3], np.array([1, 2, 4], dtype=np.float32), regression_scores),
    "questions": ([["in 1991", "1991"], [], ["год"]], ["1991", "", "x"], question_scores),
    **{
        name: ([*REFERENCES[:2], ["год"]], PREDICTIONS, lambda g, p, name=name: text_scores(g, p, [name]))
        for name in TEXT_METRICS
    },
}


def test_every_metric_has_a_case():
    assert tuple(CASES) == METRICS


@pytest.mark.parametrize("name", METRICS)
def test_evaluate_gets_the_same_numbers(name):
    references, predictions, score = CASES[name]
    expected = pytest.approx(score(references, list(predictions)))
    metric = load_metric(name)
    assert metric.compute(predictions=predictions, references=references) == expected
    for start in (0, 1):  # of different length, and the metric is used a second time
        stop = 1 if start == 0 else None
        metric.add_batch(predictions=predictions[start:stop], references=references[start:stop])
    assert metric.compute() == expected
    for reference, prediction in zip(references, predictions, strict=True):
        metric.add(prediction=prediction, reference=reference)
    assert metric.compute() == expected


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """An empty working directory and cache, and no network."""

    def refuse(*_):
        raise AssertionError("the network was asked")

    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path


def test_metrics_combine_offline_and_leave_no_file(nowhere):
    combined = evaluate.combine([load_metric(name) for name in TEXT_METRICS])
    expected = pytest.approx(text_scores(REFERENCES, PREDICTIONS, TEXT_METRICS))
    assert combined.compute(predictions=PREDICTIONS, references=REFERENCES) == expected
    for row in (slice(0, 2), slice(2, 3)):
        combined.add_batch(predictions=PREDICTIONS[row], references=REFERENCES[row])
    assert combined.compute() == expected
    for reference, prediction in zip(REFERENCES, PREDICTIONS, strict=True):
        combined.add(prediction=prediction, reference=reference)
    assert combined.compute() == expected
    assert [path.name for path in nowhere.rglob("*")] == ["work"]


def test_equal_names_get_the_name_of_their_metric():
    combined = evaluate.combine([load_metric("questions"), load_metric("exact_match")])
    scores = combined.compute(predictions=["the cat"], references=[["Cat"]])
    assert scores == {"f1": 1, "questions_exact_match": 1, "exact_match_exact_match": 0}


@pytest.mark.parametrize("name", ["questions", *TEXT_METRICS])
def test_a_single_reference_may_stand_without_a_list(name):
    references, predictions = ["a b", ["b c", "c"], "d"], ["a b", "c", "e"]
    lists = [[one] if isinstance(one, str) else one for one in references]
    plain, listed = (load_metric(name).compute(predictions=predictions, references=r) for r in (references, lists))
    assert plain == listed


def test_entities_are_taken_as_predict_returns_them():
    scores = load_metric("entities").compute(predictions=as_dicts(FOUND), references=as_dicts(SPANS))
    assert scores == entity_scores(SPANS, FOUND)[0]


def test_the_options_of_a_metric_reach_it():
    data = {"predictions": [["a"], []], "references": [["a"], []]}
    assert load_metric("multilabel").compute(**data)["macro_f1"] == 1
    assert load_metric("multilabel", labels=["a", "b"]).compute(**data)["macro_f1"] == 0.5
    data = {"predictions": ["Other", "Other"], "references": ["Other", CAUSE]}
    assert load_metric("relation").compute(**data)["macro_f1"] == pytest.approx(1 / 3)
    assert load_metric("relation", without=["Other"]).compute(**data)["macro_f1"] == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load_metric("rogue1"), r"Unknown metric 'rogue1'\. Did you mean 'rouge1'\?"),
        (lambda: load_metric("bleu", labels=["a"]), "'bleu' has no option labels, which 'multilabel' has"),
        (lambda: load_metric("bleu", without=["a"]), "'bleu' has no option without, which 'relation' has"),
        (lambda: load_metric("bleu").compute(predictions=["a"]), "bleu needs predictions and references"),
    ],
)
def test_metrics_are_asked_for_rightly(call, message):
    with pytest.raises(LightAdaptError, match=message):
        call()


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("classification", "a", ["a"]),
        ("classification", "a", None),
        ("multilabel", ["a"], "a"),
        ("entities", ["B-A"], "B-A"),
        ("entities", ["B-A"], [{"start": 0, "end": 1}]),
        ("regression", 1.0, "much"),
        ("bleu", "a", 1),
        ("bleu", "a", None),
        ("questions", "a", [None]),
    ],
)
def test_a_record_of_the_wrong_kind_is_refused_and_not_kept(name, good, bad):
    metric = load_metric(name)
    with pytest.raises(LightAdaptError, match=r"is given for one record\. Give a"):
        metric.add_batch(predictions=[good, good], references=[good, bad])
    with pytest.raises(ValueError, match="Mismatch in the number of"):
        metric.add_batch(predictions=[good, good], references=[good])
    alone = load_metric(name).compute(predictions=[good], references=[good])
    assert metric.compute(predictions=[good], references=[good]) == alone
