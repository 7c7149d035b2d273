"""Which charts show the scores of a task: those that there is something for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightadapt.display.charts import Chart
from lightadapt.display.class_charts import Bars, Matrix, Outcomes
from lightadapt.display.number_charts import Metrics, Reliability, Scatter
from lightadapt.metrics import (
    LOWER_IS_BETTER,
    OF_HUNDRED,
    Confusion,
    LabelConfusion,
    expected_calibration_error,
    reliability,
)

if TYPE_CHECKING:
    from lightadapt.evaluation.scores import Evidence, Scores


def charts_of(scores: Scores, evidence: Evidence) -> list[Chart]:
    """The charts in their order; of a task that gives nothing to draw, its metrics."""
    task, examples, predictions = evidence.task, evidence.examples, evidence.predictions
    charts: list[Chart] = []
    if isinstance(scores.confusion, Confusion):
        charts.append(Matrix(scores.confusion.labels, scores.confusion.counts))
    if isinstance(scores.confusion, LabelConfusion):
        charts.append(Outcomes.of(scores.confusion.labels, scores.confusion.counts))
    if scores.report is not None:
        charts.append(Bars.of(scores.report.rows))
    certainties = task.certainties(examples, predictions)
    if certainties:
        confidences, right = zip(*certainties, strict=True)
        charts.append(Reliability(reliability(confidences, right), expected_calibration_error(confidences, right)))
    values = task.values_of(examples, predictions)
    if values:
        charts.append(Scatter(*zip(*values, strict=True)))
    return charts if charts else [_metrics(scores)]


def _metrics(scores: Scores) -> Chart:
    ends = [scores.intervals.get(name, (value, value))[:2] for name, value in scores.items()]
    return Metrics(
        list(scores),
        list(scores.values()),
        [_share(name, value) for name, value in scores.items()],
        [(_share(name, low), _share(name, high)) for name, (low, high) in zip(scores, ends, strict=True)],
    )


def _share(name: str, value: float) -> float:
    """How much of the best value that is; 0 where that is not known."""
    if name in LOWER_IS_BETTER:
        return 0.0
    share = value / 100 if name in OF_HUNDRED else value
    return share if 0 <= share <= 1 else 0.0
