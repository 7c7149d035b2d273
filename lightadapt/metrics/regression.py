"""Scores of numbers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightadapt.metrics.pairs import paired
from lightadapt.metrics.tally import Tally, ratio


def regression_scores(gold: Sequence[float], predicted: Sequence[float]) -> dict[str, float]:
    """Pearson's and Spearman's correlation (scipy), and the root of the mean squared error.

    A correlation is 0 where there is none: fewer than two records, a side that is constant, or a value that is
    not finite, which makes the error infinite.

    >>> scores = regression_scores([1, 2, 3, 4], [1, 2, 3, 8])
    >>> round(scores["pearson"], 3), scores["rmse"]
    (0.914, 2.0)
    """
    pairs = [(float(one), float(other)) for one, other in paired(gold, predicted)]
    truth, guess = [one for one, _ in pairs], [other for _, other in pairs]
    if not all(map(math.isfinite, truth + guess)):
        return {"pearson": 0.0, "spearman": 0.0, "rmse": math.inf}
    correlations = (0.0, 0.0) if len(set(truth)) < 2 or len(set(guess)) < 2 else _correlations(truth, guess)
    rmse = math.dist(truth, guess) / math.sqrt(max(len(pairs), 1))
    return {"pearson": correlations[0], "spearman": correlations[1], "rmse": rmse}


def _correlations(truth: list[float], guess: list[float]) -> tuple[float, float]:
    from scipy.stats import NearConstantInputWarning, pearsonr, spearmanr

    with warnings.catch_warnings():  # the number of a nearly constant side is of little worth, and still the number
        warnings.simplefilter("ignore", NearConstantInputWarning)
        return float(pearsonr(truth, guess).statistic), float(spearmanr(truth, guess).statistic)


@dataclass(frozen=True, eq=False)
class NumberTally(Tally):
    """The scores of `regression_scores` for any choice of the records."""

    gold: np.ndarray
    """`(N,)`"""
    predicted: np.ndarray
    """`(N,)`"""

    def __len__(self) -> int:
        return len(self.gold)

    def scores(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        unusable = ~(np.isfinite(self.gold) & np.isfinite(self.predicted))
        gold, predicted = np.where(unusable, 0.0, self.gold), np.where(unusable, 0.0, self.predicted)
        broken = weights @ unusable > 0
        pearson = _weighted_correlation(weights, gold, predicted)
        spearman = _weighted_correlation(weights, _ranks(weights, gold), _ranks(weights, predicted))
        rmse = np.sqrt(ratio(weights @ (gold - predicted) ** 2, weights.sum(1)))
        return {
            "pearson": np.where(broken, 0.0, pearson),
            "spearman": np.where(broken, 0.0, spearman),
            "rmse": np.where(broken, np.inf, rmse),
        }

    def joined(self, other: NumberTally) -> NumberTally:
        return NumberTally(np.concatenate([self.gold, other.gold]), np.concatenate([self.predicted, other.predicted]))


def _weighted_correlation(weights: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pearson's correlation `(R,)` of values `(N,)` or `(R, N)`; 0 where a side is constant."""
    sides = [_from_mean(weights, values) for values in (one, other)]
    spreads = [(weights * side**2).sum(1) for side in sides]
    return ratio((weights * sides[0] * sides[1]).sum(1), np.sqrt(spreads[0] * spreads[1]))


def _from_mean(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`(R, N)`, what each value is above the mean of its choice; 0 where that is a matter of rounding."""
    mean = (weights * values).sum(1) / weights.sum(1)
    above = values - mean[:, None]
    return np.where(np.abs(above) <= 1e-12 * np.abs(mean)[:, None], 0.0, above)


def _ranks(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`(R, N)`, the rank of each record in each choice; equal ones have the mean of their ranks."""
    from scipy.sparse import csr_array

    _, group = np.unique(values, return_inverse=True)
    of_group = csr_array((np.ones(len(values)), (group, range(len(values)))), shape=(group.max() + 1, len(values)))
    sizes = (of_group @ weights.T).T  # (R, groups)
    middle = np.cumsum(sizes, axis=1) - (sizes - 1) / 2
    found: np.ndarray = middle[:, group]
    return found
