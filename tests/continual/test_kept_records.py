"""Which records are kept."""

from __future__ import annotations

import numpy as np

import lightadapt as la
from lightadapt.continual.memory import choose, herd


def test_herding_takes_what_keeps_the_mean():
    """The middle one first; then those whose mean with it lies where the mean of all does."""
    angles = np.radians([-40, 0, 42])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert herd(vectors, 1) == [1]
    assert sorted(herd(vectors, 3)) == [0, 1, 2]
    assert herd(vectors, 9) == herd(vectors, 3)


def test_herding_is_greedy_on_the_mean_of_what_was_taken():
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(7, 3)) + 2
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    goal = vectors.mean(0) / np.linalg.norm(vectors.mean(0))
    taken: list[int] = []
    for _ in range(4):
        left = [each for each in range(7) if each not in taken]
        sums = [vectors[[*taken, each]].sum(0) for each in left]
        taken.append(left[int(np.argmax([goal @ each / np.linalg.norm(each) for each in sums]))])
    assert herd(vectors, 4) == taken


def test_a_record_of_several_classes_counts_for_each(tiny):
    adapted = la.adapt(tiny("bert"), "multilabel", labels=["a", "b"])
    data = [{"text": "both of them", "labels": ["a", "b"]}] * 3 + [{"text": "nothing", "labels": []}]
    chosen = choose(adapted.runner, adapted.task.parse(adapted.task.read(data)), 2)
    assert len(chosen) == 2
    assert 3 not in chosen
