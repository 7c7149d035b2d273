"""The class of our figures; matplotlib is imported with it."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """A figure that notebooks show without `%matplotlib inline`, and that leaves pyplot alone."""

    def _repr_png_(self) -> bytes:
        """The picture, as IPython asks for it."""
        content = BytesIO()
        self.savefig(content, format="png")
        return content.getvalue()
