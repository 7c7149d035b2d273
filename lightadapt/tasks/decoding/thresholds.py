"""Probabilities from which labels are predicted, found on validation data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lightadapt.errors import LightAdaptError, nearest, shown
from lightadapt.numbers import is_number
from lightadapt.tasks.fitted import Fitted

KINDS = ("auto", "per-label")
"""How thresholds may be found."""
ENOUGH = 10
"""Records with a label from which a threshold of its own means more than chance."""
USUAL = 0.5


@dataclass(frozen=True)
class FittedThresholds(Fitted):
    """The probabilities from which labels are predicted, as `fit` finds them on validation data."""

    shared: float | None = None
    """Of all labels that have none of their own; None where there was no validation data."""
    by_label: Mapping[str, float] = field(default_factory=dict)
    """Of single labels."""


def check_threshold(threshold: Any, *, alone: bool = False) -> None:
    """Raise unless it is a probability, or says how one is to be found.

    Args:
        alone: whether it has to be a number.
    """
    found = threshold is None or (isinstance(threshold, str) and threshold in KINDS)
    if not (is_number(threshold) and 0 < threshold < 1) and (alone or not found):
        near = "" if alone else nearest(threshold, KINDS)
        others = "" if alone else ", or 'auto' or 'per-label' to have it found on validation data"
        if alone and found:
            near = "It is found by fit, for la.MultiLabel(threshold=…). "
        raise LightAdaptError(f"threshold={shown(threshold)}: {near}Give a number between 0 and 1{others}.")


def find_thresholds(
    held: np.ndarray, probabilities: np.ndarray, names: Sequence[str], *, each: bool
) -> FittedThresholds:
    """The threshold with the best micro F1, and of each label that enough records have the one with its best F1.

    Args:
        held: `(N, K)`, whether each record has each label.
        probabilities: `(N, K)`.
        names: of the labels.
        each: whether labels get thresholds of their own.
    """
    if not held.any():
        return FittedThresholds()
    shared = best_threshold(held.ravel(), probabilities.ravel())
    own = [column for column in range(len(names)) if each and held[:, column].sum() >= ENOUGH]
    return FittedThresholds(
        shared, {names[column]: best_threshold(held[:, column], probabilities[:, column]) for column in own}
    )


def best_threshold(held: np.ndarray, probabilities: np.ndarray) -> float:
    """The threshold with the best F1 = 2 TP / (predicted + held); of equally good ones the nearest to 0.5.

    Args:
        held: `(N,)`, of which at least one is true.
        probabilities: `(N,)`.
    """
    order = np.argsort(-probabilities, kind="stable")
    sorted_ones = probabilities[order]
    scores = 2 * np.cumsum(held[order]) / (np.arange(1, len(order) + 1) + held.sum())  # of the first n predicted
    below = np.append(sorted_ones[1:], 0.0)
    possible = sorted_ones > below  # what is equally probable is predicted together
    best = np.flatnonzero(possible & (scores == scores[possible].max()))
    usable = np.clip(USUAL, np.nextafter(below[best], 1.0), sorted_ones[best])
    middle = np.where(usable == USUAL, USUAL, (below[best] + sorted_ones[best]) / 2)
    return float(middle[np.abs(middle - USUAL).argmin()])
