"""What all plots have in common: an empty figure, and a file of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightadapt.errors import LightAdaptError, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INSTALL = 'Plots need matplotlib. Install it: pip install "lightadapt[plot]"'
SIZE = (8.0, 5.2)
"""Inches."""
RESOLUTION = 130
"""Dots an inch."""
SUFFIXES = (".png", ".svg", ".pdf")
"""Of the files that a plot is written to."""
BLUE, ORANGE, GREY = "#1f5fa8", "#c4641d", "#8a8a8a"


def require_matplotlib() -> None:
    """Raise a LightAdaptError that says how to install matplotlib when it is not there."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise LightAdaptError(INSTALL) from error


def empty_figure(size: tuple[float, float] = SIZE) -> Figure:
    """A figure of this size in inches, which a notebook shows by itself."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from lightadapt.display.notebook_figure import NotebookFigure

    figure = NotebookFigure(figsize=size, dpi=RESOLUTION, layout="constrained")
    FigureCanvasAgg(figure)  # not through pyplot, whose state belongs to the caller
    return figure


def start_figure(*, x: str, y: str) -> tuple[Figure, Axes]:
    """An empty plot with these names of its axes, and the axes."""
    figure = empty_figure()
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    clear(axes)
    return figure, axes


def clear(axes: Axes) -> None:
    """Give axes a pale grid behind what is drawn, and no box around it."""
    axes.grid(color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def check_path(path: str | Path | None) -> Path | None:
    """The file that a plot is to be written to; None where none is wanted.

    Raises:
        LightAdaptError: its suffix is none of a picture.
    """
    if path is None:
        return None
    if not isinstance(path, (str, Path)) or Path(path).suffix.lower() not in SUFFIXES:
        raise LightAdaptError(f"path={shown(path)}: name a file that ends in {', '.join(SUFFIXES)}.")
    return Path(path)


def finish(figure: Figure, path: Path | None) -> Figure:
    """The figure, written to the file where one is given; its folder is made when it is not there.

    Raises:
        LightAdaptError: the file cannot be written.
    """
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path)
        except OSError as error:
            raise LightAdaptError(f"{path} cannot be written: {error}. Name another file.") from error
    return figure
