"""Whether one model is better than another on the same records, or the difference may be chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lightadapt.data import Data
from lightadapt.errors import LightAdaptError, listed, nearest, shown
from lightadapt.evaluation.groups import Groups
from lightadapt.evaluation.intervals import NO_SHARES, SEED, USUAL, Interval, check_confidence, in_parts, intervals_of
from lightadapt.evaluation.scores import Scores
from lightadapt.metrics import LOWER_IS_BETTER, OF_HUNDRED, Rescored, Tally
from lightadapt.tasks import LabelledTask, Task

OF_ONE_LABEL = "accuracy"
"""The metric that is a share of records, each right or wrong."""


@runtime_checkable
class Evaluated(Protocol):
    """A model that scores itself on data: an `Adapted` or an `OnnxModel`."""

    @property
    def task(self) -> Task:
        """The task."""

    def evaluate(self, data: Data, *, columns: Any = None, on_error: str = "raise") -> Scores:
        """Its metrics on labelled data."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What `compare_models` finds; it prints as a sentence."""

    metric: str
    """What is compared."""
    difference: float
    """The metric of b less that of a."""
    low: float
    """The lower end of the interval of the difference."""
    high: float
    """The upper end."""
    p: float
    """How often chance alone would make a difference of this size, or a larger one."""
    n: int
    """Records."""
    better: str | None
    """`"a"` or `"b"`; None where no difference can be told: p is not below 1 - confidence, or the interval holds 0."""
    a: float
    """The metric of a."""
    b: float
    """The metric of b."""
    confidence: float
    """Of the interval."""
    test: str
    """How p was found: `exact McNemar`, or `paired permutation`."""
    on: str
    """The records, in words."""
    names: tuple[str, str] = ("a", "b")
    """What a and b are called in the sentence."""

    def __str__(self) -> str:
        factor, unit = _unit(self.metric, max(abs(self.a), abs(self.b)))
        chance = f"p < {10**-4:.4f}" if self.p < 10**-4 else f"p = {self.p:.2g}"
        facts = f"({self.metric}, {self.on}; {chance})"
        if self.better is None:
            by = f"{factor * self.difference:.3g}{unit}"
            if self.low < self.high:
                by += f", and may be from {factor * self.low:.3g} to {factor * self.high:.3g}"
            return f"No difference can be told: {self.names[1]} less {self.names[0]} is {by} {facts}."
        winner = self.names[self.better == "b"]
        size = f"{factor * abs(self.difference):.3g} ± {factor * (self.high - self.low) / 2:.2g}{unit}"
        return f"{winner} is better by {size} {facts}."

    __repr__ = __str__


def compare_models(
    a: Evaluated | Scores,
    b: Evaluated | Scores,
    data: Data | None = None,
    *,
    metric: str | None = None,
    confidence: float = USUAL,
    columns: Mapping[str, str | int] | None = None,
    on_error: str = "raise",
) -> Difference:
    """Whether `b` or `a` is better on the same records, and by how much; it prints as a sentence.

    Both answer the same records, so what makes a record hard for both does not count as a difference. The interval is
    that of the paired bootstrap: each draw takes the same records (or documents, see `Scores.intervals`) for both. The
    p of accuracy is that of McNemar's exact test, a binomial test on the records that only one of them gets right
    (McNemar 1947); of other metrics, and where records come in documents, it is that of a paired permutation test with
    9,999 permutations (approximate randomization; Noreen 1989). `better` names one of them only if p is below
    1 - confidence and the interval does not hold 0.

    Several looks at the same test records find a difference by chance sooner or later: of twenty equal models one is
    "better" at p < 0.05.

    Args:
        a: an adapted model, or what its `evaluate` gave.
        b: likewise.
        data: labelled records, in any form; not needed where both are scores.
        metric: what to compare; None: the headline of the task.
        confidence: of the interval, between 0 and 1.
        columns: as in `evaluate`.
        on_error: as in `evaluate`.

    Raises:
        LightAdaptError: the two have other tasks, labels or records, there is no such metric, or there is one record
            alone.
    """
    check_confidence(confidence)
    _check_given(a, b, data)
    _check_tasks(a.task, b.task)
    names = (*(a if isinstance(a, Scores) else ()), *(b if isinstance(b, Scores) else ()))
    if metric is not None and names and metric not in names:
        raise _no_metric(metric, names)
    sides = [each if isinstance(each, Scores) else _scores(each, data, columns, on_error) for each in (a, b)]
    return difference_of(*sides, metric=metric, confidence=confidence)


def difference_of(
    a: Scores,
    b: Scores,
    *,
    metric: str | None = None,
    confidence: float = USUAL,
    names: tuple[str, str] = ("a", "b"),
) -> Difference:
    """As `compare_models`, of scores.

    Raises:
        LightAdaptError: they cannot be compared.
    """
    _check_records(a, b)
    chosen = next(iter(a), "") if metric is None else metric
    if chosen not in a or chosen not in b:
        raise _no_metric(chosen, [name for name in a if name in b])
    groups = a.evidence.groups
    groups.check_several("compare_models")
    first, second = a.evidence.tally(a), b.evidence.tally(b)
    if type(first) is not type(second) or isinstance(first, Rescored):
        _check_alike(a, b)
    both, value = first.joined(second), b[chosen] - a[chosen]
    interval = _interval(both, groups, chosen, value, confidence)
    exact = chosen == OF_ONE_LABEL and groups.kind is None
    p = _mcnemar(a, b) if exact else _permuted(both, groups, chosen, value)
    told = p < 1 - confidence and not interval.low <= 0 <= interval.high
    less = chosen in LOWER_IS_BETTER or (chosen == a.task.headline and not a.task.greater_is_better)
    return Difference(
        metric=chosen,
        difference=value,
        low=interval.low,
        high=interval.high,
        p=p,
        n=len(first),
        better=("b" if (value > 0) is not less else "a") if told else None,
        a=a[chosen],
        b=b[chosen],
        confidence=confidence,
        test="exact McNemar" if exact else "paired permutation",
        on=groups.described,
        names=names,
    )


# ---- what can be compared


def _scores(model: Evaluated, data: Data | None, columns: Any, on_error: str) -> Scores:
    assert data is not None
    return model.evaluate(data, columns=columns, on_error=on_error)


def _check_given(a: Any, b: Any, data: Any) -> None:
    for name, each in (("a", a), ("b", b)):
        if not isinstance(each, (Scores, Evaluated)):
            raise LightAdaptError(
                f"compare_models: {name} is {shown(each)}. Give an adapted model, or what its evaluate(…) gave."
            )
    if data is None and not (isinstance(a, Scores) and isinstance(b, Scores)):
        raise LightAdaptError("compare_models(a, b, data): give the labelled records on which the two are compared.")


def _check_tasks(one: Task, other: Task) -> None:
    """Raise for tasks whose answers are not of one kind."""
    if one.name != other.name:
        raise LightAdaptError(
            f"compare_models: a does task {one.name!r} and b {other.name!r}. Compare models of the same task."
        )
    if isinstance(one, LabelledTask) and isinstance(other, LabelledTask):
        first, second = (set(map(str, task.labels or ())) for task in (one, other))
        if first != second:
            only = [f"{name} alone has {listed(sorted(more), 5)}" for name, more in _alone(first, second) if more]
            raise LightAdaptError(
                f"compare_models: the labels differ: {'; '.join(only)}. Train both on the same labels."
            )


def _alone(first: set[str], second: set[str]) -> list[tuple[str, set[str]]]:
    return [("a", first - second), ("b", second - first)]


def _check_records(a: Scores, b: Scores) -> None:
    """Raise for scores of other tasks, labels or records."""
    _check_tasks(a.task, b.task)
    first, second = a.evidence.examples, b.evidence.examples
    if len(first) != len(second):
        raise LightAdaptError(
            f"compare_models: a was evaluated on {len(first):,} records and b on {len(second):,}. Evaluate both on the "
            "same data, in the same order."
        )
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        if one != other:
            raise LightAdaptError(
                f"compare_models: record {number} of a, {shown(one, 60)}, is not that of b, {shown(other, 60)}. "
                "Evaluate both on the same data, in the same order."
            )


def _check_alike(a: Scores, b: Scores) -> None:
    """Raise where records can only be scored by a task as a whole, and the tasks differ."""
    if a.task != b.task:
        raise LightAdaptError(
            f"compare_models: a and b do task {a.task.name!r} with other settings, which has no tally to compare them "
            "by. Define tally(…) in the class of the task, or train both with the same settings."
        )


def _no_metric(metric: str, known: Sequence[str]) -> LightAdaptError:
    names = list(dict.fromkeys(known))
    return LightAdaptError(f"metric={shown(metric)}: {nearest(metric, names)}Metrics: {', '.join(names)}.")


# ---- the difference


class _Differences(Tally):
    """The metric of b less that of a, for any choice of the records that both answered."""

    def __init__(self, both: Tally, metric: str) -> None:
        self.both, self.metric = both, metric
        self.resamples = both.resamples  # type: ignore[misc]

    def __len__(self) -> int:
        return len(self.both) // 2

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

    def joined(self, other: Any) -> Any:
        raise NotImplementedError


def _interval(both: Tally, groups: Groups, metric: str, value: float, confidence: float) -> Interval:
    """The interval of a difference; of one that no draw has, its value alone."""
    differences = _Differences(both, metric)
    found = intervals_of(differences, groups, {metric: value}, confidence, differences=True)
    return found.get(metric, Interval(value, value, confidence))


def _permuted(both: Tally, groups: Groups, metric: str, value: float) -> float:
    """How many of the permutations, the true one among them, give a difference as large (Noreen 1989)."""
    differences, chance = _Differences(both, metric), np.random.default_rng(SEED)
    as_large = 0
    for rows in in_parts(both.permutations, len(groups.numbers)):
        sides = chance.integers(2, size=(rows, groups.size))[:, groups.numbers].astype(np.float64)
        found = differences.swapped(sides)
        as_large += int((np.abs(found) >= abs(value) * (1 - 1e-9) - 1e-12).sum())
    return (1 + as_large) / (1 + both.permutations)


def _mcnemar(a: Scores, b: Scores) -> float:
    """Two-sided, exact: of the records that one alone gets right, how many are whose, as of a fair coin."""
    from scipy.stats import binomtest

    only_a = only_b = 0
    for one, other in zip(a.evidence.right, b.evidence.right, strict=True):
        only_a, only_b = only_a + (one and not other), only_b + (other and not one)
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def _unit(metric: str, value: float) -> tuple[float, str]:
    """By what a difference is multiplied, and in what it is then."""
    if metric in OF_HUNDRED:
        return 1.0, " points"
    return (1.0, "") if metric in NO_SHARES or value > 1 else (100.0, " points")
