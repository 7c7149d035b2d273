"""Two plots of a comparison: the score against the trained parameters, and against the seconds of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi, sin
from pathlib import Path
from typing import TYPE_CHECKING

from lightadapt.display.figures import RESOLUTION, require_matplotlib, start_figure
from lightadapt.errors import LightAdaptError
from lightadapt.experiments.comparison.results import Comparison, Measured, Row
from lightadapt.experiments.comparison.tables import as_epochs, metric_name
from lightadapt.metrics import LOWER_IS_BETTER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOUR, FULL_COLOUR = "#1f5fa8", "#b5452c"
DISTANCES = (9, 14, 20, 28, 38, 50, 66)
"""Points between a mark and its label that are tried."""
DIRECTIONS = [number * pi / 8 for number in (0, 8, 4, 12, 2, 6, 14, 10, 1, 15, 7, 9, 3, 5, 11, 13)]
"""Right, left, above, below, then between."""
NEAR = 15
"""Points up to which a label needs no line to its mark."""
GAP = 2.0
"""Pixels that stay free around a label."""
MARK = 8.0
"""Pixels from the middle of a mark to its edge, with a little room."""


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def shared(self, other: Box) -> float:
        """The area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)

    @property
    def area(self) -> float:
        """Square pixels."""
        return (self.right - self.left) * (self.top - self.bottom)


@dataclass(frozen=True)
class Plot:
    """One plot: what its horizontal axis shows."""

    file: str
    subject: str
    axis: str
    value: Callable[[Row], Measured]
    log: bool


PLOTS = (
    Plot(
        "parameters",
        "score against trained parameters",
        "trained parameters, head included (log scale)",
        lambda row: Measured(row.trained, None),
        True,
    ),
    Plot("seconds", "score against training time", "training time (seconds)", lambda row: row.seconds, False),
)


def draw_plots(
    comparison: Comparison, folder: str | Path, *, metric: str | None = None, prefix: str = ""
) -> list[Path]:
    """The files of the two plots, written to a folder.

    Args:
        comparison: with at least one run that is done.
        folder: made when it is not there.
        metric: the score; None: the headline.
        prefix: stands before the names of the files, `parameters.png` and `seconds.png`.

    Raises:
        LightAdaptError: matplotlib is not installed, no run is done, or the runs have no such metric.
    """
    require_matplotlib()
    rows = comparison.rows(metric)
    if not rows:
        raise LightAdaptError(f"{comparison.title}: no run is done, so there is nothing to draw.")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    files = []
    for plot in PLOTS:
        files.append(target / f"{prefix}{plot.file}.png")
        draw(comparison, rows, plot, metric or comparison.headline).savefig(files[-1], dpi=RESOLUTION)
    return files


def draw(comparison: Comparison, rows: Sequence[Row], plot: Plot, metric: str) -> Figure:
    """One plot, with every mark labelled by its method."""
    better = "lower is better" if metric in LOWER_IS_BETTER else "higher is better"
    figure, axes = start_figure(x=plot.axis, y=f"{metric_name(metric)} on the test records ({better})")
    if plot.log:
        axes.set_xscale("log")
    axes.set_title(f"{comparison.title}: {plot.subject}", fontsize=12, loc="left", pad=24)
    axes.text(0, 1.02, _subtitle(comparison, rows), transform=axes.transAxes, fontsize=9, color="#555555")
    for row in rows:
        _draw_mark(axes, row, plot)
    axes.margins(x=0.12, y=0.14)
    if not plot.log:
        axes.set_xlim(left=0)  # so that twice as far is twice as long
    figure.canvas.draw()  # places are in pixels, known once the layout is
    figure.set_layout_engine("none")
    _place_labels(axes, [(row.method, plot.value(row), row.score) for row in rows])
    return figure


def _subtitle(comparison: Comparison, rows: Sequence[Row]) -> str:
    setting, seeds = comparison.setting, max(row.seeds for row in rows)
    parts = [f"{setting.train:,} training records", f"{setting.test:,} test records"]
    parts += [as_epochs(setting.epochs)] if setting.epochs else []
    parts += [f"mean of {seeds} seeds, bars: ± standard deviation" if seeds > 1 else "1 seed"]
    return ", ".join(parts)


def _draw_mark(axes: Axes, row: Row, plot: Plot) -> None:
    x, y, full = plot.value(row), row.score, row.method == "full"
    axes.errorbar(
        x.mean,
        y.mean,
        xerr=x.spread,
        yerr=y.spread,
        fmt="s" if full else "o",
        color=FULL_COLOUR if full else COLOUR,
        markersize=7,
        capsize=3,
        linewidth=1.2,
    )


# ---- labels


def _place_labels(axes: Axes, marks: Sequence[tuple[str, Measured, Measured]]) -> None:
    """Write a label near each mark: where it covers no other label, no mark and no bar, as near as that goes."""
    inside = Box(*axes.get_window_extent().extents)
    taken = [box for _, x, y in marks for box in _boxes_of_mark(axes, x, y)]
    pixel = axes.figure.dpi / 72
    for name, x, y in marks:
        label = axes.annotate(
            name, (x.mean, y.mean), (0, 0), textcoords="offset points", ha="center", va="center", fontsize=10
        )
        size = label.get_window_extent()
        half = (size.width / 2 + GAP, size.height / 2 + GAP)
        middle = tuple(axes.transData.transform((x.mean, y.mean)))
        tried = [
            _place(middle, half, distance * pixel, direction) for distance in DISTANCES for direction in DIRECTIONS
        ]
        # The first of equals is the nearest.
        best = min(tried, key=lambda box: sum(map(box.shared, taken)) + 10 * (box.area - box.shared(inside)))
        taken.append(best)
        offset = ((best.left + best.right) / 2 - middle[0], (best.bottom + best.top) / 2 - middle[1])
        label.set_position((offset[0] / pixel, offset[1] / pixel))
        _join(axes, middle, best, pixel)


def _boxes_of_mark(axes: Axes, x: Measured, y: Measured) -> list[Box]:
    """What a mark and its bars cover."""
    middle = axes.transData.transform((x.mean, y.mean))
    boxes = [Box(middle[0] - MARK, middle[1] - MARK, middle[0] + MARK, middle[1] + MARK)]
    for horizontal, vertical in (((x.spread or 0.0), 0.0), (0.0, (y.spread or 0.0))):
        if horizontal or vertical:
            low = axes.transData.transform((x.mean - horizontal, y.mean - vertical))
            high = axes.transData.transform((x.mean + horizontal, y.mean + vertical))
            boxes.append(Box(low[0] - GAP, low[1] - GAP, high[0] + GAP, high[1] + GAP))
    return boxes


def _place(middle: tuple[float, ...], half: tuple[float, float], distance: float, direction: float) -> Box:
    """The place of a label of this half width and height, at a distance from a mark in a direction."""
    x = middle[0] + cos(direction) * (distance + half[0])
    y = middle[1] + sin(direction) * (distance + half[1])
    return Box(x - half[0], y - half[1], x + half[0], y + half[1])


def _join(axes: Axes, middle: tuple[float, ...], box: Box, pixel: float) -> None:
    """Draw a thin line from a mark to its label when the label is not beside it."""
    nearest = (min(max(middle[0], box.left), box.right), min(max(middle[1], box.bottom), box.top))
    if ((nearest[0] - middle[0]) ** 2 + (nearest[1] - middle[1]) ** 2) ** 0.5 > NEAR * pixel:
        ends = axes.transData.inverted().transform([middle, nearest])
        axes.plot(*ends.T, color="#999999", linewidth=0.7, zorder=1, scalex=False, scaley=False)
