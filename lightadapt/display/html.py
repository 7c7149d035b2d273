"""Tables and marked texts for notebooks.

No colour of text or ground is set but for the marks, whose colours are a tint of both, so that everything is readable
on light and on dark.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from html import escape

MARK = "background:rgba(46,139,87,.28);border-radius:3px;padding:0 2px"
"""What is learned: a green that is seen through, under text of the notebook's own colour."""
_MARKED = re.compile("⟦([^⟦⟧]*)⟧")


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, numbers: bool = False) -> str:
    """A table; `numbers` says whether all columns but the first hold numbers, which stand to the right."""
    sides = ["left", *["right" if numbers else "left"] * (len(head) - 1)]
    lines = [_row("th", head, sides), *(_row("td", row, sides) for row in rows)]
    return f"<table>{''.join(lines)}</table>"


def facts(text: str) -> str:
    """A table of two columns from lines that begin with a name, which two spaces or more divide from what is said."""
    rows = [re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in text.splitlines() if line.strip()]
    return f"<table>{''.join(_row('td', (*row, '')[:2], ('left', 'left')) for row in rows)}</table>"


def marked(text: str) -> str:
    """Lines of text in which what stands between ⟦ and ⟧ is coloured."""
    found = _MARKED.sub(rf'<span style="{MARK}">\1</span>', escape(text))
    return f'<pre style="white-space:pre-wrap">{found}</pre>'


def show(text: str, html: str) -> None:
    """Print a text; in a notebook show its HTML instead."""
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        print(text)
        return
    from IPython.display import display

    display({"text/plain": text, "text/html": html}, raw=True)


def _row(tag: str, values: Sequence[object], sides: Sequence[str]) -> str:
    cells = [
        f'<{tag} style="text-align:{side}">{escape(str(value))}</{tag}>'
        for value, side in zip(values, sides, strict=True)
    ]
    return f"<tr>{''.join(cells)}</tr>"
