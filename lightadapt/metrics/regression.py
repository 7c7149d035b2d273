"""Scores of numbers."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

from lightadapt.metrics.pairs import paired


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
