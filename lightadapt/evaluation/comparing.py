"""Whether one model is better than another on the same records, or the difference may be chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from lightadapt.data import Data
from lightadapt.errors import LightAdaptError, listed, nearest, shown
from lightadapt.evaluation.difference import Difference
from lightadapt.evaluation.intervals import USUAL, check_confidence
from lightadapt.evaluation.paired import interval_of, mcnemar_test, permutation_test
from lightadapt.evaluation.scores import Scores
from lightadapt.metrics import LOWER_IS_BETTER, Rescored
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
    interval = interval_of(both, groups, chosen, value, confidence)
    exact = chosen == OF_ONE_LABEL and groups.kind is None
    p = mcnemar_test(a.evidence.right, b.evidence.right) if exact else permutation_test(both, groups, chosen, value)
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
                f"compare_models: {name} is {shown(each)}. Give an adapted model, or the scores of one."
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
            "by. Give the class of the task a tally, or train both with the same settings."
        )


def _no_metric(metric: str, known: Sequence[str]) -> LightAdaptError:
    names = list(dict.fromkeys(known))
    return LightAdaptError(f"metric={shown(metric)} is unknown. {nearest(metric, names)}Metrics: {', '.join(names)}.")
