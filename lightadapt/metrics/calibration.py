"""Whether probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lightadapt.metrics.pairs import paired

BINS = 10


class Bin(NamedTuple):
    """The predictions whose probability lies in a part of the range."""

    confidence: float
    """The mean of their probabilities."""
    accuracy: float
    """The share of them that is right."""
    size: int
    """How many there are."""


def reliability(confidences: Sequence[float], right: Sequence[bool], bins: int = BINS) -> list[Bin]:
    """The predictions in bins of equal width by their probability, `(a, b]`; bins without any are left out.

    The points of a reliability diagram (Guo et al., 2017, arxiv.org/abs/1706.04599).
    """
    found: dict[int, list[tuple[float, bool]]] = {}
    for confidence, is_right in paired(confidences, right):
        # The upper border belongs to a bin.
        place = next(number for number in range(bins) if confidence <= (number + 1) / bins or number == bins - 1)
        found.setdefault(place, []).append((confidence, is_right))
    return [
        Bin(sum(one for one, _ in mine) / len(mine), sum(is_right for _, is_right in mine) / len(mine), len(mine))
        for _, mine in sorted(found.items())
    ]


def expected_calibration_error(confidences: Sequence[float], right: Sequence[bool], bins: int = BINS) -> float:
    """The mean distance of probability and accuracy over the bins, each weighing as many as it holds; 0 to 1.

    Naeini et al., 2015 (ojs.aaai.org/index.php/AAAI/article/view/9602). Its value depends on the number of bins, and
    with few records it is above 0 for a calibrated model, too.

    >>> round(expected_calibration_error([0.9, 0.9, 0.6, 0.6], [True, True, True, False]), 6)
    0.1
    """
    parts = reliability(confidences, right, bins)
    total = sum(part.size for part in parts)
    return sum(part.size * abs(part.accuracy - part.confidence) for part in parts) / (total or 1)
