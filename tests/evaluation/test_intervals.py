"""Intervals hold the true value as often as they say, come out the same each time, and know what belongs together."""

from __future__ import annotations

import json
import pickle
import time

import numpy as np
import pytest
from scored import CASES, LABELS, classified, scores_of

import lightadapt as la
from lightadapt.data import Records
from lightadapt.evaluation.groups import groups_of
from lightadapt.evaluation.intervals import intervals_of
from lightadapt.evaluation.scores import Evidence, Scores
from lightadapt.metrics import NumberTally, classification_tally


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_task_has_an_interval_for_every_metric(name):
    scores = scores_of(*CASES[name][:3])
    assert scores.intervals.keys() <= scores.keys()
    assert scores.evidence.tally(scores).whole() == pytest.approx(dict(scores))
    assert scores.task.headline in scores.intervals
    for metric, (low, high, confidence) in scores.intervals.items():
        assert low <= scores[metric] <= high
        assert confidence == 0.95
    again = pickle.loads(pickle.dumps(scores))
    assert again.intervals == scores.intervals == scores_of(*CASES[name][:3]).intervals


def test_intervals_are_printed_and_the_dict_stays_one():
    scores = classified([True, True, False] * 20)
    low, high, _ = scores.intervals["accuracy"]
    assert str(scores).startswith(f"accuracy  0.6667  [{low:.4f}, {high:.4f}]\n")
    assert "60 records; 95 % intervals by the bootstrap; calibration error" in str(scores)
    assert repr(scores) == repr(dict(scores))
    title = scores.plot().texts[0].get_text()
    assert title.startswith("classification, 60 records: accuracy 0.6667  macro_f1 0.5556")
    assert title.endswith(f"(accuracy in [{low:.4g}, {high:.4g}])")


def test_coverage_of_accuracy_and_correlation():
    """Of 300 data sets each, about 95 % have an interval that holds the value they were drawn from."""
    chance = np.random.default_rng(0)
    held = {"accuracy": 0, "macro_f1": 0, "pearson": 0}
    for _ in range(300):
        gold = chance.integers(2, size=120)
        given = np.where(chance.random(120) < 0.8, gold, 1 - gold)
        tally = classification_tally(gold.tolist(), given.tolist())
        one = chance.normal(size=(2, 80))
        numbers = NumberTally(one[0], 0.6 * one[0] + 0.8 * one[1])
        for each, true in ((tally, {"accuracy": 0.8, "macro_f1": 0.8}), (numbers, {"pearson": 0.6})):
            scores, size = each.whole(), len(each)
            found = intervals_of(each, groups_of(Records([{}] * size), la.Regression()), scores, 0.95)
            for name, value in true.items():
                held[name] += found[name].low <= value <= found[name].high
    assert all(0.91 <= count / 300 <= 0.985 for count in held.values()), held


def test_more_confidence_is_wider_and_more_records_are_narrower():
    widths = [
        high - low
        for scores in (
            classified([True, False] * 50, confidence=0.8),
            classified([True, False] * 50, confidence=0.99),
            classified([True, False] * 500, confidence=0.99),
        )
        for low, high, _ in [scores.intervals["accuracy"]]
    ]
    assert widths[0] < widths[1]
    assert widths[2] == pytest.approx(widths[1] / 10**0.5, rel=0.15)


def test_records_of_one_document_are_drawn_together():
    """Where all sentences of a document are right or wrong together, there are as many witnesses as documents."""
    right = [document % 2 == 0 for document in range(40) for _ in range(10)]
    alone = classified(right).intervals["accuracy"]
    numbers = [number // 10 for number in range(400)]
    for name in ("document_id", "doc_id", "article_id"):
        scores = classified(right, **{name: numbers})
        together = scores.intervals["accuracy"]
        assert together.high - together.low > 2.5 * (alone.high - alone.low)
        assert f"400 records of 40 {'articles' if name == 'article_id' else 'documents'};" in str(scores)


def test_few_documents_do_not_count():
    right = [True, False] * 20
    assert classified(right, doc_id=[0] * 20 + [1] * 20).intervals == classified(right).intervals


def test_questions_of_one_context_are_drawn_together():
    records = [
        {"question": f"Who wrote {number}?", "context": f"Maria wrote it. {number // 4}", "answers": []}
        for number in range(60)
    ]
    found = groups_of(la.QA().read(records), la.QA())
    assert (found.size, found.described) == (15, "60 records of 15 contexts")
    titled = [{**record, "title": str(number // 5)} for number, record in enumerate(records)]
    assert groups_of(la.QA().read(titled), la.QA()).described == "60 records of 12 titles"


def test_questions_of_one_article_are_drawn_together(write):
    question = {"question": "Who wrote it?", "answers": [{"text": "Maria", "answer_start": 0}]}
    paragraph = {"context": "Maria wrote it.", "qas": [question] * 2}
    path = write("squad.json", json.dumps({"data": [{"title": "x", "paragraphs": [paragraph] * 3}] * 11}))
    assert groups_of(la.QA().read(path), la.QA()).described == "66 records of 11 documents"


def test_documents_of_a_conll_file_are_known(write):
    sentence = "Maria B-P\ncame O\n\n"
    path = write("test.conll", "".join("-DOCSTART- O\n\n" + sentence * 3 for _ in range(12)))
    task = la.NER(labels=["P"])
    records = task.read(path)
    assert groups_of(records, task).described == "36 records of 12 documents"
    assert groups_of(records.only(range(1, 36)), task).numbers.tolist() == [place // 3 for place in range(1, 36)]


def test_where_all_are_right_the_interval_still_has_a_width():
    """The rule of three: 60 of 60 right rules out that more than about 5 % are wrong."""
    low, high, _ = classified([True] * 60).intervals["accuracy"]
    assert (low, high) == (pytest.approx(1 - 3 / 60, abs=0.002), 1.0)
    assert classified([False] * 60).intervals["accuracy"][:2] == (0.0, pytest.approx(3 / 60, abs=0.002))


def test_a_single_record_has_none():
    scores = classified([True])
    assert scores.intervals == {}
    assert str(scores).endswith("1 record; calibration error 0.200")


def test_a_task_of_ones_own_that_scores_otherwise_is_scored_anew():
    class Lenient(la.Classification):
        name = "lenient"

        def score(self, examples, predictions):
            scores, report = super().score(examples, predictions)
            return {"accuracy": 1 - (1 - scores["accuracy"]) / 2}, report

    given = classified([True, False] * 30).evidence
    task = Lenient(labels=LABELS)
    scores = Scores(*task.score(given.examples, given.predictions), Evidence(task, *vars_of(given)))
    low, high, _ = scores.intervals["accuracy"]
    assert low < scores["accuracy"] == 0.75 < high
    assert high - low == pytest.approx(0.25 / 2, abs=0.04)


def vars_of(evidence):
    return evidence.records, evidence.examples, evidence.predictions


def test_thousands_of_records_take_seconds_at_most():
    scores = classified([number % 5 > 0 for number in range(5_000)])
    start = time.perf_counter()
    assert scores.intervals["macro_f1"].low > 0.7
    assert time.perf_counter() - start < 10
