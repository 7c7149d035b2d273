"""Linear discriminants from what is known of classes, whether they came at once or one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from lightadapt.continual.discriminants import NEVER, discriminants, joined, spread, statistics_of
from lightadapt.heads.apart import FAR

PLACES = np.repeat([0, 1, 2], [9, 5, 7])


@pytest.fixture
def vectors():
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(3, 4))
    return centres[PLACES] + 0.3 * generator.normal(size=(len(PLACES), 4))


def test_statistics_are_those_of_each_class(vectors):
    known = statistics_of(vectors, PLACES, 4)
    assert known["counts"].tolist() == [9, 5, 7, 0]
    assert np.allclose(known["means"][1], vectors[PLACES == 1].mean(0))
    rest = np.concatenate([vectors[each == PLACES] - vectors[each == PLACES].mean(0) for each in range(3)])
    assert np.allclose(known["scatter"], rest.T @ rest)


@pytest.mark.parametrize("cut", [9, 12, 20])
def test_steps_give_the_same_as_all_at_once(vectors, cut):
    """Also where a step holds more records of a class that was there before."""
    one, other = statistics_of(vectors[:cut], PLACES[:cut], 3), statistics_of(vectors[cut:], PLACES[cut:], 3)
    whole, both = statistics_of(vectors, PLACES, 3), joined(one, other)
    for name in whole:
        assert np.allclose(whole[name], both[name]), name


def test_rows_are_fishers(vectors):
    known = statistics_of(vectors, PLACES, 3)
    rows, biases = discriminants(known)
    covariance = known["scatter"] / 21
    shrunk = covariance + 4 / 21 * np.trace(covariance) / 4 * np.eye(4)
    calm = (shrunk @ rows[0])[0] / known["means"][0, 0]
    assert calm < 1
    for row, bias, mean in zip(rows, biases, known["means"], strict=True):
        assert np.allclose(shrunk @ row, calm * mean)
        assert bias == pytest.approx(-calm * mean @ np.linalg.inv(shrunk) @ mean / 2)
    assert ((vectors @ rows.T + biases).argmax(1) == PLACES).mean() > 0.9


@pytest.mark.parametrize("copies", [1, 4])
def test_records_without_spread_do_not_make_the_head_sure_of_everything(copies):
    """One record of each class, or copies of it, say nothing of how far others lie from it."""
    vectors = np.repeat(np.eye(3), copies, axis=0)
    rows, biases = discriminants(statistics_of(vectors, np.repeat(range(3), copies), 3))
    logits = np.eye(3) @ rows.T + biases
    assert np.allclose(logits.max(1) - np.sort(logits)[:, 1], FAR / 2)


def test_the_head_is_as_unsure_as_its_classes_are_near():
    vectors = np.random.default_rng(0).normal(size=(4000, 2))
    places = np.arange(4000) % 2
    vectors[:, 0] += places  # a distance of one spread
    rows, biases = discriminants(statistics_of(vectors, places, 2))
    means = np.array([[0.0, 0.0], [1.0, 0.0]])
    logits = means @ rows.T + biases
    assert np.allclose(logits.max(1) - logits.min(1), 0.5, atol=0.1)


def test_an_output_without_records_is_never_given(vectors):
    rows, biases = discriminants(statistics_of(vectors, PLACES, 4))
    assert not rows[3].any()
    assert biases[3] == NEVER


def test_outputs_keep_their_names_in_another_order(vectors):
    known = statistics_of(vectors, PLACES, 3)
    wide = spread(known, ["a", "b", "c"], ["new", "c", "a", "b"])
    assert wide["counts"].tolist() == [0, 7, 9, 5]
    assert np.array_equal(wide["means"][[2, 3, 1]], known["means"])
