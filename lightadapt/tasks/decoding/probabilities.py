"""Probabilities from the logits of a model, and the most probable of several names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from lightadapt.tasks.encoding.features import Feature

L = TypeVar("L")


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities `(K,)` from logits `(K,)`."""
    scores = np.exp(logits.astype(np.float64) - logits.max())
    return scores / scores.sum()  # type: ignore[no-any-return]


def log_softmax(logits: np.ndarray, axis: int) -> np.ndarray:
    """Log probabilities from logits, along an axis."""
    scores = logits.astype(np.float64)
    scores -= scores.max(axis, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis, keepdims=True))  # type: ignore[no-any-return]


def mean_of_windows(features: Sequence[Feature], values: Sequence[np.ndarray], count: int) -> np.ndarray:
    """`(N, K)`: the mean of what was inferred from the windows of each of `count` examples."""
    total = np.zeros((count, len(values[0])))
    windows = np.zeros((count, 1))
    for feature, value in zip(features, values, strict=True):
        total[feature.example] += value
        windows[feature.example] += 1
    return total / windows


def most_probable(probabilities: Mapping[L, float]) -> L:
    """The label with the highest probability; of equal ones the first."""
    return max(probabilities, key=probabilities.__getitem__)
