"""What a run noted over its steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from lightadapt.display.figures import BLUE, ORANGE, SIZE, clear, empty_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 30
"""Points up to which each is marked."""


class Curve(NamedTuple):
    """One quantity over the steps."""

    name: str
    points: Sequence[tuple[int, float]]
    """(step, value)."""
    best: tuple[int, float] | None = None
    """The point to mark."""


def draw_curves(curves: Sequence[Curve], title: str) -> Figure:
    """The curves below each other, over the same steps."""
    figure = empty_figure((SIZE[0], 1.0 + 1.9 * len(curves)))
    rows: list[Axes] = list(figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0])
    for axes, curve in zip(rows, curves, strict=True):
        clear(axes)
        steps, values = zip(*curve.points, strict=True)
        axes.plot(steps, values, color=BLUE, marker="o" if len(steps) <= FEW else "", markersize=4)
        axes.set_ylabel(curve.name)
        axes.margins(y=0.15)
        if curve.best is not None:
            step, value = curve.best
            axes.plot([step], [value], "o", color=ORANGE, markersize=9, fillstyle="none", markeredgewidth=2)
            axes.set_title(f"best: {value:.4g} at step {step:,} (circled)", fontsize=9, loc="right", color=ORANGE)
    rows[-1].set_xlabel("step")
    rows[-1].set_xlim(left=0)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    figure.align_ylabels(rows)
    return figure
