"""Tests and intervals for two models that answered the same records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lightadapt.evaluation.groups import Groups
from lightadapt.evaluation.intervals import SEED, Interval, in_parts, intervals_of
from lightadapt.metrics import Tally


class Differences:
    """The metric of b less that of a, for any choice of the records that both answered."""

    def __init__(self, both: Tally, metric: str) -> None:
        self.both, self.metric = both, metric
        self.resamples = both.resamples

    def scores(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        none = np.zeros_like(weights)
        sides = [self._metric(np.hstack(each)) for each in ((weights, none), (none, weights))]
        return {self.metric: sides[1] - sides[0]}

    def swapped(self, weights: np.ndarray) -> np.ndarray:
        """The same where the records of weight 1 have changed sides."""
        sides = [self._metric(np.hstack(each)) for each in ((1 - weights, weights), (weights, 1 - weights))]
        found: np.ndarray = sides[1] - sides[0]
        return found

    def _metric(self, weights: np.ndarray) -> np.ndarray:
        return self.both.scores(weights)[self.metric]


def interval_of(both: Tally, groups: Groups, metric: str, value: float, confidence: float) -> Interval:
    """The interval of a difference; of one that no draw has, its value alone."""
    differences = Differences(both, metric)
    found = intervals_of(differences, groups, {metric: value}, confidence, differences=True)
    return found.get(metric, Interval(value, value, confidence))


def permutation_test(both: Tally, groups: Groups, metric: str, value: float) -> float:
    """How many of the permutations, the true one among them, give a difference as large (Noreen 1989)."""
    differences, chance = Differences(both, metric), np.random.default_rng(SEED)
    as_large = 0
    for rows in in_parts(both.permutations, len(groups.numbers)):
        sides = chance.integers(2, size=(rows, groups.size))[:, groups.numbers].astype(np.float64)
        found = differences.swapped(sides)
        as_large += int((np.abs(found) >= abs(value) * (1 - 1e-9) - 1e-12).sum())
    return (1 + as_large) / (1 + both.permutations)


def mcnemar_test(a: Sequence[bool], b: Sequence[bool]) -> float:
    """Two-sided, exact: of the records that one alone gets right, how many are whose, as of a fair coin."""
    from scipy.stats import binomtest

    only_a = only_b = 0
    for one, other in zip(a, b, strict=True):
        only_a, only_b = only_a + (one and not other), only_b + (other and not one)
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
