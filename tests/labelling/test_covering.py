"""Few records stand for many: the greedy choice is that of its formula, and nothing is chosen twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightadapt.labelling import covering
from lightadapt.labelling.covering import cover

NONE = np.zeros((0, 8), dtype=np.float32)


def some_vectors(count, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def by_the_formula(vectors, weights, n, known):
    """The same choice by its definition, every gain computed anew."""
    middle = vectors.mean(0)

    def directions(rows):
        return (rows - middle) / np.linalg.norm(rows - middle, axis=1, keepdims=True)

    cosines = directions(vectors) @ directions(np.concatenate([vectors, known])).T
    chosen = list(range(len(vectors), len(vectors) + len(known)))
    for _ in range(n):
        best = np.maximum(cosines[:, chosen].max(1), 0) if chosen else np.zeros(len(vectors))
        gains = np.maximum(cosines[:, : len(vectors)] - best[:, None], 0).T @ weights
        gains[[place for place in chosen if place < len(vectors)]] = -1
        chosen.append(int(gains.argmax()))
    return chosen[len(known) :]


@given(st.integers(2, 90), st.integers(0, 20), st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_it_is_the_greedy_maximum_of_the_formula(count, seed, known):
    vectors, others = some_vectors(count, seed), some_vectors(known + 1, seed + 100)[:known]
    weights = np.random.default_rng(seed).uniform(0.1, 1, count).astype(np.float32)
    n = min(5, count)
    found = [pick.place for pick in cover(vectors, weights, n, known=others, seed=0)]
    assert found == by_the_formula(vectors, weights, n, others)[: len(found)]


def test_one_is_chosen_of_each_group_the_largest_first():
    groups = np.repeat(np.eye(8, dtype=np.float32)[:3], [5, 9, 7], axis=0)
    noise = 0.2 * some_vectors(len(groups))
    picks = cover(groups + noise, np.ones(len(groups), np.float32), 3, known=NONE, seed=0)
    assert [0 if pick.place < 5 else 1 if pick.place < 14 else 2 for pick in picks] == [1, 2, 0]
    assert [pick.nearest_of for pick in picks] == [9, 7, 5]


def test_what_is_known_is_not_needed_again():
    groups = np.repeat(np.eye(8, dtype=np.float32)[:3], [5, 9, 7], axis=0)
    noise = 0.2 * some_vectors(len(groups))
    picks = cover(groups + noise, np.ones(len(groups), np.float32), 2, known=np.eye(8, dtype=np.float32)[1:2], seed=0)
    assert all(not 5 <= pick.place < 14 for pick in picks)


def test_near_duplicates_are_chosen_once():
    vectors = np.concatenate([some_vectors(6)] * 4)
    assert sorted(pick.place % 6 for pick in cover(vectors, np.ones(24, np.float32), 24, known=NONE, seed=0)) == [
        *range(6)
    ]
    same = np.ones((5, 8), dtype=np.float32)
    assert len(cover(same, np.ones(5, np.float32), 3, known=NONE, seed=0)) == 1
    assert cover(same, np.ones(5, np.float32), 3, known=same[:1], seed=0) == []


def test_of_very_many_records_a_part_is_drawn_by_the_seed(monkeypatch):
    monkeypatch.setattr(covering, "ENOUGH", 20)
    vectors, weights = some_vectors(300), np.ones(300, np.float32)
    first, again, other = (cover(vectors, weights, 4, known=NONE, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.parametrize("heavy", [3, 17])
def test_what_weighs_most_is_stood_for_first(heavy):
    weights = np.full(40, 1e-3, dtype=np.float32)
    weights[heavy] = 1.0
    assert cover(some_vectors(40), weights, 1, known=NONE, seed=0)[0].place == heavy
