"""Charts of numbers: probabilities, values and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lightadapt.display.charts import Chart, Margins
from lightadapt.display.class_names import font, room_for
from lightadapt.display.figures import BLUE, GREY, clear

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SQUARE = 3.6
"""The side of a chart whose size does not depend on the number of classes."""


@dataclass(frozen=True)
class Reliability(Chart):
    """How often predictions of each probability are right; on the diagonal they are as often as they say."""

    title: ClassVar[str] = "reliability"
    bins: Sequence[tuple[float, float, int]]
    """(mean probability, share that is right, number of predictions)."""
    error: float
    """The expected calibration error."""

    @property
    def body(self) -> tuple[float, float]:
        return SQUARE, SQUARE

    def draw(self, axes: Axes) -> None:
        clear(axes)
        most = max(count for *_, count in self.bins)
        axes.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1)
        axes.plot([one for one, _, _ in self.bins], [share for _, share, _ in self.bins], color=BLUE, linewidth=1.2)
        for probability, share, count in self.bins:
            axes.plot([probability], [share], "o", color=BLUE, markersize=4 + 9 * (count / most) ** 0.5, clip_on=False)
        axes.set(
            xlim=(0, 1),
            ylim=(0, 1),
            xlabel="probability (larger marks: more predictions)",
            ylabel="share that is right",
        )
        axes.xaxis.label.set_fontsize(9)
        note = f"ECE {self.error:.3f}"
        axes.text(0.04, 0.95, note, fontsize=9, va="top", bbox={"color": "white", "alpha": 0.8, "pad": 2})


@dataclass(frozen=True)
class Scatter(Chart):
    """Predicted numbers over the true ones."""

    title: ClassVar[str] = "predicted against true"
    expected: Sequence[float]
    predicted: Sequence[float]

    @property
    def body(self) -> tuple[float, float]:
        return SQUARE + 0.6, SQUARE + 0.6

    def draw(self, axes: Axes) -> None:
        clear(axes)
        both = [*self.expected, *self.predicted]
        low, high = min(both), max(both)
        axes.plot([low, high], [low, high], "--", color=GREY, linewidth=1)
        axes.plot(self.expected, self.predicted, "o", color=BLUE, markersize=4, alpha=0.5, markeredgewidth=0)
        axes.set(xlabel="true", ylabel="predicted")


@dataclass(frozen=True)
class Metrics(Chart):
    """The metrics themselves, each with its value; a bar where the best value is known."""

    title: ClassVar[str] = "metrics"
    names: Sequence[str]
    values: Sequence[float]
    shares: Sequence[float]
    """How much of the best value each is; 0 where there is no best, as of a loss."""
    ends: Sequence[tuple[float, float]] = ()
    """The same of the ends of its interval."""

    @property
    def body(self) -> tuple[float, float]:
        return 3.4, max(1.0, 0.4 * len(self.names))

    @property
    def margins(self) -> Margins:
        return Margins(room_for(self.names, 1), 0.9, 0.3)

    def draw(self, axes: Axes) -> None:
        places = range(len(self.names))
        axes.barh(places, [float(share > 0) for share in self.shares], height=0.55, color="#eeeeee")
        axes.barh(places, self.shares, height=0.55, color=BLUE, alpha=0.75)
        for place, (low, high) in enumerate(self.ends):
            if low < high:
                axes.plot([low, high], [place, place], color="black", linewidth=1.2, marker="|", clip_on=False)
        axes.set_yticks(places, self.names, fontsize=font(1))
        axes.set(ylim=(len(places) - 0.4, -0.6), xlim=(0, 1), xticks=[])
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        for place, value in zip(places, self.values, strict=True):
            axes.text(1.03, place, f"{value:.4g}", va="center", fontsize=9)
