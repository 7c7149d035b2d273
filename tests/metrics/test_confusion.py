"""Confusion and calibration are those of scikit-learn and of their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix

from lightadapt.data.spans import Span
from lightadapt.metrics import (
    confusion_of_labels,
    confusion_of_sets,
    confusion_of_spans,
    expected_calibration_error,
    reliability,
)

SOME = settings(deadline=None, max_examples=60)
LABELS = ["a", "b", "c"]


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=20))
@SOME
def test_classes_are_scikit_learns(pairs):
    gold, predicted = map(list, zip(*pairs, strict=True))
    found = confusion_of_labels(gold, predicted, LABELS)
    assert (found.counts == confusion_matrix(gold, predicted, labels=LABELS)).all()
    frame = found.to_pandas()
    assert all(frame.loc[one, other] == count for one, other, count in found.pairs(100))


@given(st.lists(st.tuples(st.sets(st.sampled_from(LABELS)), st.sets(st.sampled_from(LABELS))), min_size=1, max_size=9))
@SOME
def test_sets_are_scikit_learns(pairs):
    gold, predicted = map(list, zip(*pairs, strict=True))
    tables = [[[int(label in one) for label in LABELS] for one in side] for side in (gold, predicted)]
    assert (
        confusion_of_sets(gold, predicted, LABELS).counts == multilabel_confusion_matrix(*map(np.array, tables))
    ).all()


def test_a_type_may_be_called_none():
    found = confusion_of_spans([[Span(0, 1, "none")]], [[]], ["none"])
    assert found.labels == ("none", "(none)")
    assert found.counts.tolist() == [[0, 1], [0, 0]]


def test_labels_that_are_not_named_follow():
    assert confusion_of_labels([2, 1], [2, 7], [1, 2]).labels == ("1", "2", "7")


def test_many_classes_and_long_names_print_on_few_columns():
    many = [f"class {number}" for number in range(77)]
    text = str(confusion_of_labels(many, [many[0]] * 77, many))
    assert text.startswith("77 classes; confused most:")
    assert "taken for class 0" in text
    long = [f"{'name ' * 10}{number}" for number in range(5)]
    assert max(map(len, str(confusion_of_labels(long, long, long)).splitlines())) < 100


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30))
@SOME
def test_the_calibration_error_is_its_definition(pairs):
    confidences, right = map(np.array, zip(*pairs, strict=True))
    place = np.clip(np.ceil(confidences * 10) - 1, 0, 9)
    wanted = sum(
        (place == number).mean() * abs(right[place == number].mean() - confidences[place == number].mean())
        for number in set(place)
    )
    found = expected_calibration_error(confidences.tolist(), right.tolist())
    assert found == pytest.approx(wanted, abs=1e-9) or np.isclose(confidences * 10, np.round(confidences * 10)).any()
    assert sum(part.size for part in reliability(confidences.tolist(), right.tolist())) == len(pairs)


def test_certainty_that_is_right_is_calibrated():
    assert expected_calibration_error([1.0, 1.0], [True, True]) == 0
    assert expected_calibration_error([1.0, 1.0], [False, False]) == 1
    assert expected_calibration_error([], []) == 0
