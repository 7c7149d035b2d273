"""How far a score is to be trusted: what it would be on other records of the same kind, by the bootstrap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from lightadapt.errors import LightAdaptError, shown
from lightadapt.evaluation.groups import Groups
from lightadapt.metrics import LOWER_IS_BETTER, OF_HUNDRED
from lightadapt.numbers import is_number

SEED = 0
"""Of all draws, so that equal calls give equal intervals."""
USUAL = 0.95
"""The confidence where none is asked for."""
CELLS = 4_000_000
"""Weights that are held in memory at once."""
BLOCKS = 500
"""Parts of the data that are left out in turn, at most, to see how skewed a metric is."""
NO_SHARES = (*LOWER_IS_BETTER, *OF_HUNDRED, "pearson", "spearman")
"""Metrics that are no share of something, between 0 and 1."""


class Scored(Protocol):
    """What gives metrics for any choice of the records: a `Tally`, or the differences of two."""

    @property
    def resamples(self) -> int:
        """The choices that a bootstrap makes."""

    def scores(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """The metrics `(R,)` of choices `(R, N)`."""


class Interval(NamedTuple):
    """Where a metric lies, with what confidence."""

    low: float
    high: float
    confidence: float
    """The share of such intervals that hold the true value."""

    def __str__(self) -> str:
        return f"[{self.low:.4g}, {self.high:.4g}]"


def check_confidence(confidence: object) -> None:
    """Raise unless it is a share between 0 and 1.

    Raises:
        LightAdaptError: with what was probably meant.
    """
    if is_number(confidence) and 0 < confidence < 1:  # type: ignore[operator]
        return
    percent = is_number(confidence) and 1 < confidence < 100  # type: ignore[operator]
    meant = f" {confidence:g} % is {confidence / 100:g}." if percent else ""  # type: ignore[operator]
    sure = " Of a confidence of 1 every interval would be endless." if confidence == 1 else ""
    raise LightAdaptError(f"confidence={shown(confidence)}: give a number between 0 and 1, such as 0.95.{meant}{sure}")


def intervals_of(
    tally: Scored, groups: Groups, scores: Mapping[str, float], confidence: float, *, differences: bool = False
) -> dict[str, Interval]:
    """An interval for each metric, by drawing groups with replacement.

    Bias-corrected and accelerated (BCa; Efron 1987, Efron and Tibshirani 1993, chapter 14), from 1,000 draws; 200 for a
    task of one's own, whose metrics are computed anew for each draw. A metric that most draws have not gets none. Where
    all draws agree that a share is 1 or 0, the other end is where n groups would agree by chance once in 1 / (1 -
    confidence): for 95 % at a distance of about 3 / n (the rule of three; Hanley and Lippman-Hand 1983).

    Args:
        scores: the metrics of all records.
        differences: whether these are differences of metrics, of which none is a share.
    """
    draws = _stacked(tally, drawn(groups, tally.resamples))
    parts = _stacked(tally, _left_out(groups, min(BLOCKS, groups.size, tally.resamples // 2)))
    found = {}
    for name, value in scores.items():
        values = draws.get(name, np.empty(0))
        values, jackknife = values[np.isfinite(values)], parts.get(name, np.empty(0))
        if 2 * len(values) > tally.resamples and np.isfinite(value):
            jackknife = jackknife[np.isfinite(jackknife)]
            agree = values.min() == values.max() and value in (0, 1)
            if agree and not differences and name not in NO_SHARES:
                found[name] = _of_agreement(value, groups.size, confidence)
            else:
                found[name] = _of_draws(value, values, jackknife, confidence)
    return found


def drawn(groups: Groups, count: int) -> Iterator[np.ndarray]:
    """The weights of `count` draws of as many groups as there are, with replacement, as parts `(R, N)`."""
    chance = np.random.default_rng(SEED)
    for rows in in_parts(count, max(groups.size, len(groups.numbers))):
        chosen = chance.integers(groups.size, size=(rows, groups.size))
        places = chosen + groups.size * np.arange(rows)[:, None]
        times = np.bincount(places.ravel(), minlength=rows * groups.size).reshape(rows, groups.size)
        yield times[:, groups.numbers].astype(np.float64)


def _left_out(groups: Groups, blocks: int) -> Iterator[np.ndarray]:
    """The weights of all records but those of one block of groups, for each block in turn."""
    block = groups.numbers % blocks
    start = 0
    for rows in in_parts(blocks, len(block)):
        yield (block != np.arange(start, start + rows)[:, None]).astype(np.float64)
        start += rows


def in_parts(count: int, width: int) -> Iterator[int]:
    """How many rows of such a width are made at once."""
    most = max(1, CELLS // max(1, width))
    for start in range(0, count, most):
        yield min(most, count - start)


def _stacked(tally: Scored, parts: Iterator[np.ndarray]) -> dict[str, np.ndarray]:
    """The metrics of all choices, NaN in parts that have none of a name."""
    found = [(len(weights), tally.scores(weights)) for weights in parts]
    names = dict.fromkeys(name for _, scores in found for name in scores)
    return {name: np.concatenate([scores.get(name, np.full(rows, np.nan)) for rows, scores in found]) for name in names}


def _of_agreement(value: float, groups: int, confidence: float) -> Interval:
    reach = 1 - (1 - confidence) ** (1 / groups)
    low, high = (0.0, reach) if value == 0 else (1 - reach, 1.0)
    return Interval(low, high, confidence)


def _of_draws(value: float, draws: np.ndarray, jackknife: np.ndarray, confidence: float) -> Interval:
    low, high = np.quantile(draws, _levels(value, draws, jackknife, confidence))
    return Interval(min(float(low), value), max(float(high), value), confidence)


def _levels(value: float, draws: np.ndarray, jackknife: np.ndarray, confidence: float) -> tuple[float, float]:
    """The quantiles of the draws that are the ends of the interval: Φ(z0 + (z0 + z) / (1 - a (z0 + z)))."""
    from scipy.special import ndtr, ndtri

    # Draws that equal the score but for rounding count as half below it.
    near = np.isclose(draws, value, rtol=1e-9, atol=1e-12)
    below = ((draws < value) & ~near).mean() + near.mean() / 2
    bias = ndtri(np.clip(below, 1 / (len(draws) + 1), len(draws) / (len(draws) + 1)))
    away = jackknife.mean() - jackknife if len(jackknife) else np.zeros(1)
    spread = (away**2).sum() ** 1.5
    skew = (away**3).sum() / (6 * spread) if spread > 0 else 0.0
    ends = []
    for level in ((1 - confidence) / 2, (1 + confidence) / 2):
        shifted = bias + ndtri(level)
        ends.append(float(ndtr(bias + shifted / max(1e-6, 1 - skew * shifted))))
    return ends[0], ends[1]
