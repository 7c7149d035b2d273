"""The charts of an evaluation, and how they stand beside each other; all sizes are in inches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from lightadapt.display.figures import empty_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Margins(NamedTuple):
    """What stands around a chart."""

    left: float
    right: float
    bottom: float
    top: float = 0.4


@dataclass(frozen=True)
class Chart(ABC):
    """A chart that knows the room it needs."""

    title: ClassVar[str]

    @property
    @abstractmethod
    def body(self) -> tuple[float, float]:
        """Width and height of what lies between the axes."""

    @property
    def margins(self) -> Margins:
        """What the names around it need."""
        return Margins(0.85, 0.35, 0.65)

    @abstractmethod
    def draw(self, axes: Axes) -> None:
        """Draw it."""

    @property
    def width(self) -> float:
        """With its margins."""
        return self.margins.left + self.body[0] + self.margins.right

    @property
    def height(self) -> float:
        """With its margins."""
        return self.margins.bottom + self.body[1] + self.margins.top


def draw_charts(charts: Sequence[Chart], title: str) -> Figure:
    """The charts beside each other, their titles in one line, under a title for all."""
    head = 0.35
    width = max(sum(chart.width for chart in charts), 0.2 + 0.085 * len(title))
    height = max(chart.height for chart in charts) + head
    figure = empty_figure((width, height))
    figure.set_layout_engine("none")  # every place is known
    figure.text(0.15 / width, 1 - 0.12 / height, title, fontsize=10, va="top")
    left = 0.0
    for chart in charts:
        margins, (across, down) = chart.margins, chart.body
        bottom = height - head - margins.top - down
        axes = figure.add_axes(
            ((left + margins.left) / width, bottom / height, across / width, down / height), label=chart.title
        )
        chart.draw(axes)
        axes.set_title(chart.title, fontsize=10, pad=8)
        left += chart.width
    return figure
