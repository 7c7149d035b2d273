"""What learning in steps gains and loses: average score, forgetting and backward transfer.

With R[i][j] the score after step i on what step j brought: the average score after step i is the mean of R[i][j] over
j <= i; the forgetting of what step j brought is the best R[l][j] of an earlier step l less R[i][j], and forgetting is
its mean over j < i (Chaudhry et al. 2018, "Riemannian Walk for Incremental Learning"); backward transfer is the mean of
R[i][j] - R[j][j] over j < i (Lopez-Paz and Ranzato 2017, "Gradient Episodic Memory for Continual Learning").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lightadapt.errors import LightAdaptError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Matrix = Sequence[Mapping[int, float]]
"""Row i: `{j: R[i][j]}` for each j that was scored then."""


def average_score(scores: Matrix, step: int) -> float | None:
    """The mean score after a step on what it and the steps before brought.

    >>> average_score([{0: 0.9}, {0: 0.8, 1: 1.0}], 1)
    0.9
    """
    return _mean([value for brought, value in scores[step].items() if brought <= step])


def forgetting(scores: Matrix, step: int) -> float | None:
    """How much worse than at its best the model is, after a step, at what the steps before brought.

    Below 0 where it has become better. None where nothing was scored before and after.

    >>> forgetting([{0: 0.75}, {0: 1.0, 1: 1.0}, {0: 0.5, 1: 0.75}], 2)
    0.375
    """
    lost = []
    for brought, now in scores[step].items():
        before = [row[brought] for row in scores[brought:step] if brought in row] if brought < step else []
        if before:
            lost.append(max(before) - now)
    return _mean(lost)


def backward_transfer(scores: Matrix, step: int) -> float | None:
    """How much better the model is, after a step, at what earlier steps brought than it was right after each of them.

    Below 0 where it has become worse. None where nothing was scored both times.

    >>> backward_transfer([{0: 0.75}, {0: 1.0, 1: 1.0}, {0: 0.5, 1: 0.75}], 2)
    -0.25
    """
    gained = [
        now - scores[brought][brought]
        for brought, now in scores[step].items()
        if brought < step and brought in scores[brought]
    ]
    return _mean(gained)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


@dataclass(frozen=True)
class StepScores:
    """The scores of an adaptation after each of its steps, on what each step brought."""

    metric: str
    """What the scores are."""
    matrix: Matrix

    @property
    def is_empty(self) -> bool:
        """Whether nothing was scored."""
        return not any(self.matrix)

    def rows(self) -> list[dict[str, float | None]]:
        """For each step: its number, the score on what it brought, on what was there before, and the three measures.

        A share between 0 and 1 each; None where there was nothing to score.
        """
        return [
            {
                "step": step,
                "new": row.get(step),
                "old": _mean([value for brought, value in row.items() if brought < step]),
                "average": average_score(self.matrix, step),
                "forgetting": forgetting(self.matrix, step),
                "backward transfer": backward_transfer(self.matrix, step),
            }
            for step, row in enumerate(self.matrix)
        ]

    def plot(self, path: str | Path | None = None) -> Figure:
        """The score on what each step brought, over the steps, with the average as a thick line.

        Args:
            path: a file to write the figure to as well: `.png`, `.svg` or `.pdf`.

        Raises:
            LightAdaptError: matplotlib is not installed, nothing was scored, or the file cannot be written.
        """
        from lightadapt.display.figures import BLUE, GREY, check_path, finish, start_figure

        target = check_path(path)
        if self.is_empty:
            raise LightAdaptError("No step was scored, so there is nothing to plot. Give validation data to extend(…).")
        figure, axes = start_figure(x="step", y=self.metric)
        for brought in sorted({each for row in self.matrix for each in row}):
            points = [(step, row[brought]) for step, row in enumerate(self.matrix) if brought in row]
            axes.plot(*zip(*points, strict=True), color=GREY, marker="o", markersize=4, linewidth=1)
            axes.annotate(f" brought by step {brought}", points[-1], fontsize=8, color=GREY)
        averages = [(step, average_score(self.matrix, step)) for step in range(len(self.matrix))]
        known = [(step, value) for step, value in averages if value is not None]
        axes.plot(*zip(*known, strict=True), color=BLUE, marker="o", linewidth=2.5, label="average")
        axes.set_xticks(range(len(self.matrix)))
        axes.legend(frameon=False)
        return finish(figure, target)
