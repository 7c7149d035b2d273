"""Scores as people read them: a line for each metric, with how far it is to be trusted."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightadapt.evaluation.scores import Scores


def as_lines(scores: Scores) -> str:
    """The metrics with their intervals, what these are of, the calibration error, and the difference to before."""
    width = max(map(len, scores), default=0)
    lines = [f"{name:<{width}}  {value:.4f}  {_interval(scores, name)}".rstrip() for name, value in scores.items()]
    intervals = scores.intervals
    notes = [scores.evidence.groups.described]
    if intervals:
        notes.append(f"{100 * next(iter(intervals.values())).confidence:.4g} % intervals by the bootstrap")
    if scores.uncalibrated_error is not None:
        notes.append(f"calibration error {scores.calibration_error:.3f}, {scores.uncalibrated_error:.3f} before")
    elif scores.calibration_error is not None:
        notes.append(f"calibration error {scores.calibration_error:.3f}")
    lines.append("; ".join(notes))
    if scores.before is not None and scores.gain is not None:
        name, value = next(iter(scores.before.items()))
        lines += [f"before: {name} {value:.4f}, from {scores.before_by}", str(scores.gain)]
    return "\n".join(lines)


def _interval(scores: Scores, name: str) -> str:
    interval = scores.intervals.get(name)
    return "" if interval is None else f"[{interval.low:.4f}, {interval.high:.4f}]"


def as_facts(scores: Scores) -> dict[str, Any]:
    """The same for JSON: `scores`, `intervals` `[low, high]`, their `confidence`, and what there is of before."""
    facts: dict[str, Any] = {
        "scores": dict(scores),
        "intervals": {name: [each.low, each.high] for name, each in scores.intervals.items()},
        "confidence": scores.confidence,
        "calibration_error": scores.calibration_error,
    }
    if scores.before is not None and scores.gain is not None:
        facts |= {"before": dict(scores.before), "before_by": scores.before_by, "gain": asdict(scores.gain)}
    return facts
