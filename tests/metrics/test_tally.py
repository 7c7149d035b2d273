"""A tally gives, for any choice of the records, what the metric gives for the same records written out."""

from __future__ import annotations

import numpy as np
import pytest

from lightadapt import LightAdaptError
from lightadapt.data.spans import Span
from lightadapt.metrics import (
    NumberTally,
    Rescored,
    classification_scores,
    classification_tally,
    entity_scores,
    entity_tally,
    multilabel_scores,
    multilabel_tally,
    question_scores,
    question_tally,
    regression_scores,
    relation_scores,
    relation_tally,
    text_scores,
    text_tally,
)

CHANCE = np.random.default_rng(3)
COUNT = 40
LABELS = ["a", "b", "c", "never"]
RELATIONS = ["P(e1,e2)", "P(e2,e1)", "Q", "Other"]
WORDS = ["my", "order", "is", "late", "again", "the", "parcel"]
NAMES = ["exact_match", "bleu", "chrf", "rouge1", "rougeL"]


def some(items, most):
    return [str(each) for each in CHANCE.choice(items, size=CHANCE.integers(most + 1), replace=False)]


def text():
    return " ".join(CHANCE.choice(WORDS, size=CHANCE.integers(1, 7)))


def spans():
    return [Span(start, start + 2, str(CHANCE.choice(["P", "L"]))) for start in (0, 4, 8) if CHANCE.random() < 0.6]


def one_of(items):
    return [str(each) for each in CHANCE.choice(items, size=COUNT)]


def many(make):
    return [make() for _ in range(COUNT)]


ROUNDED = [np.round(CHANCE.normal(size=COUNT), 1).tolist() for _ in range(2)]  # with ties
CASES = {
    "classification": (
        (one_of(LABELS[:3]), one_of(LABELS[:3])),
        lambda *sides: classification_scores(*sides)[0],
        lambda *sides: classification_tally(*sides, LABELS),
    ),
    "multilabel": (
        (many(lambda: some(LABELS, 3)), many(lambda: some(LABELS, 3))),
        lambda *sides: multilabel_scores(*sides, LABELS)[0],
        lambda *sides: multilabel_tally(*sides, LABELS),
    ),
    "relation": (
        (one_of(RELATIONS), one_of(RELATIONS)),
        lambda *sides: relation_scores(*sides, ["Other"])[0],
        lambda *sides: relation_tally(*sides, ["Other"]),
    ),
    "entities": (
        (many(spans), many(spans)),
        lambda *sides: entity_scores(*sides)[0],
        entity_tally,
    ),
    "questions": (
        (
            many(lambda: [text()] if CHANCE.random() < 0.6 else []),
            many(lambda: text() if CHANCE.random() < 0.7 else ""),
        ),
        question_scores,
        question_tally,
    ),
    "regression": (
        tuple(ROUNDED),
        regression_scores,
        lambda *sides: NumberTally(*map(np.array, sides)),
    ),
    "texts": (
        (many(lambda: [text() for _ in range(CHANCE.integers(1, 3))]), many(text)),
        lambda *sides: text_scores(*sides, NAMES),
        lambda *sides: text_tally(*sides, NAMES),
    ),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def test_all_records_have_the_score_itself(case):
    sides, score, tally = case
    assert tally(*sides).whole() == pytest.approx(score(*sides))


def test_any_choice_has_the_score_of_its_records_written_out(case):
    sides, score, tally = case
    draws = [CHANCE.integers(COUNT, size=COUNT) for _ in range(20)] + [[5], [0, 0, 1]]
    found = tally(*sides).scores(np.array([np.bincount(draw, minlength=COUNT) for draw in draws], dtype=float))
    for number, draw in enumerate(draws):
        expected = score(*([side[place] for place in draw] for side in sides))
        assert {name: values[number] for name, values in found.items() if name in expected} == pytest.approx(expected)


def test_two_tallies_are_one_of_all_records(case):
    sides, score, tally = case
    parts = [[side[start : start + 20] for side in sides] for start in (0, 20)]
    assert tally(*parts[0]).joined(tally(*parts[1])).whole() == pytest.approx(score(*sides))


def test_what_has_no_tally_is_scored_anew(case):
    sides, score, tally = case
    weights = np.array([np.bincount(CHANCE.integers(COUNT, size=COUNT), minlength=COUNT)], dtype=float)
    slow, quick = Rescored(score, *sides).scores(weights), tally(*sides).scores(weights)
    assert {name: quick[name][0] for name in slow} == pytest.approx({name: slow[name][0] for name in slow})


def test_values_that_are_not_finite_count_where_they_are_drawn():
    tally = NumberTally(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.5, np.inf]))
    found = tally.scores(np.array([[1.0, 2.0, 0.0], [1.0, 1.0, 1.0]]))
    assert found["rmse"].tolist() == [pytest.approx((0.5 / 3) ** 0.5), np.inf]
    assert found["pearson"].tolist() == [pytest.approx(1.0), 0.0]


def test_a_side_that_is_constant_correlates_with_nothing():
    tally = NumberTally(np.full(5, 0.1), np.arange(5.0))
    found = tally.scores(CHANCE.integers(1, 5, size=(50, 5)).astype(float))
    assert not found["pearson"].any()
    assert not found["spearman"].any()


def test_tallies_of_other_classes_are_refused():
    with pytest.raises(LightAdaptError, match="do not count the same"):
        classification_tally(["a"], ["a"]).joined(classification_tally(["a"], ["b"]))
