"""What all plots have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightadapt.errors import LightAdaptError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INSTALL = 'Plots need matplotlib. Install it: pip install "lightadapt[plot]"'
SIZE = (8.0, 5.2)
"""Inches."""
RESOLUTION = 130
"""Dots an inch."""


def require_matplotlib() -> None:
    """Raise a LightAdaptError that says how to install matplotlib when it is not there."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise LightAdaptError(INSTALL) from error


def start_figure(*, x: str, y: str) -> tuple[Figure, Axes]:
    """An empty plot with these names of its axes, and the axes."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=RESOLUTION, layout="constrained")
    FigureCanvasAgg(figure)  # not through pyplot, whose state belongs to the caller
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes
