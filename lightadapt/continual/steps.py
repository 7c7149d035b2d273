"""The steps in which an adaptation has learned: their entries in the artifact, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightadapt.adaptation.manifest import manifest_of
from lightadapt.adaptation.past import STATE, Past
from lightadapt.adaptation.runner import Runner
from lightadapt.continual.forgetting import StepScores
from lightadapt.display import html
from lightadapt.tasks import Label, LabelledTask

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("step", "date", "records", "new classes", "kept", "new", "old", "average", "forgetting", "backward transfer")


class Steps(Sequence[Mapping[str, Any]]):
    """The steps in which an adaptation has learned, one mapping each; they print as a table with their scores."""

    def __init__(self, entries: Sequence[Mapping[str, Any]], metric: str) -> None:
        """Show these entries, whose scores are of that metric."""
        self._entries = entries
        self.scores = StepScores(
            metric, [{int(name): value for name, value in each["scores"].items()} for each in entries]
        )

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: Any) -> Any:
        chosen = self._entries[index]
        return chosen if isinstance(index, slice) else {name: chosen[name] for name in chosen if name != "state"}

    def table(self) -> list[list[str]]:
        """The cells of the table, a row for each step."""
        return [
            [
                str(entry["step"]),
                str(entry.get("date") or "")[:10],
                f"{entry['records']:,}",
                f"{len(entry['classes']):,}",
                f"{entry.get('memory', 0):,}",
                *("" if row[name] is None else f"{row[name]:.3f}" for name in COLUMNS[5:]),
            ]
            for entry, row in zip(self._entries, self.scores.rows(), strict=True)
        ]

    def __str__(self) -> str:
        rows = [list(COLUMNS), *self.table()]
        widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
        lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        note = "" if self.scores.is_empty else f"\nnew, old and average: {self.scores.metric} on validation records"
        return "\n".join(lines) + note

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return html.table(list(COLUMNS), self.table(), numbers=True)

    def plot(self, path: str | Path | None = None) -> Figure:
        """The scores over the steps; see `StepScores.plot`.

        Raises:
            LightAdaptError: matplotlib is not installed, nothing was scored, or the file cannot be written.
        """
        return self.scores.plot(path)


def now() -> str:
    """The time, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def entry_of(
    step: int, *, records: int, classes: Sequence[Label], date: str | None, memory: int = 0, replayed: int = 0
) -> dict[str, Any]:
    """What the artifact says of a step, without scores yet."""
    return {
        "step": step,
        "date": date,
        "records": records,
        "classes": list(classes),
        "memory": memory,
        "replayed": replayed,
        "scores": {},
        "state": None,
    }


def with_first_step(runner: Runner) -> Past:
    """The past, with what the adaptation learned by `fit` as its first step, if it has learned anything."""
    past = runner.past
    labelled = isinstance(runner.task, LabelledTask)
    learned = not runner.adaptation.head.is_fresh if labelled else bool(runner.last_run.settings)
    if past.steps or not learned:
        return past
    trained = runner.last_run.settings.get("records", 0)
    return replace(past, steps=(entry_of(0, records=int(trained), classes=runner.labels or [], date=None),))


def kept_as_it_is(runner: Runner, past: Past, *, weights: bool) -> Past:
    """The past with the present state of the model as that at the end of its last step.

    Args:
        weights: whether its tensors are kept, so that they can be loaded again.
    """
    if not past.steps:
        return past
    last = past.steps[-1]
    facts = manifest_of(runner)
    steps = (*past.steps[:-1], {**last, "state": {name: facts[name] for name in STATE}})
    if not weights:
        return replace(past, steps=steps)
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in runner.adaptation.tensors().items()}
    return replace(past, steps=steps, weights={**past.weights, last["step"]: tensors})


def classes_by_step(past: Past) -> dict[Label, int]:
    """The step that brought each class."""
    return {label: each["step"] for each in past.steps for label in each["classes"]}
