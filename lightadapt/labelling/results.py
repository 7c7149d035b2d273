"""What is found about records and their labels: lists that print as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightadapt.display import html
from lightadapt.evaluation.mistakes import brief

LONGEST = 60
"""Characters of a text in a table; the object has all of them."""
LONGEST_LABEL = 40
"""Characters of a label, or of several, in a table."""


@dataclass(frozen=True)
class Choice:
    """A record that is worth labelling."""

    index: int
    """Its number in what was given, from 0."""
    text: str
    reason: str
    """Why it was chosen."""
    doubt: float | None = None
    """How unsure the model is of it, from 0 to 1; None where that was not asked."""


class Choices(list[Choice]):
    """The records worth labelling next, the best first: a list that prints as a table.

    >>> print(Choices([Choice(4, "Where is my parcel?", "the nearest of 12")]))
    index  text                 reason
        4  Where is my parcel?  the nearest of 12
    """

    def __str__(self) -> str:
        return "\n".join(_lines(*self._table())) if self else "Nothing to choose from."

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """What a notebook shows: a table."""
        return html.table(*self._table())

    def _table(self) -> tuple[list[str], list[list[str]]]:
        return ["index", "text", "reason"], [[str(each.index), brief(each.text, LONGEST), each.reason] for each in self]


@dataclass(frozen=True)
class Suspect:
    """A record whose label is probably wrong."""

    index: int
    """Its number in what was given, from 0."""
    place: str
    """What an error would call it, with file and line."""
    text: str
    given: Any
    """The label of the record; a list where it may have several."""
    suggested: Any
    """What it probably should be."""
    probability: float
    """Of the given label, by a model that has not learned from this record; of several, of the least probable part."""


class Suspects(list[Suspect]):
    """Records whose label is probably wrong, the most suspicious first: a list that prints as a table.

    >>> print(Suspects([Suspect(4, "Record 4", "Where is my parcel?", "refund", "delivery", 0.013)]))
    index  given   suggested  probability  text
        4  refund  delivery         0.013  Where is my parcel?
    """

    def __str__(self) -> str:
        return "\n".join(_lines(*self._table())) if self else "No suspects."

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """What a notebook shows: a table."""
        return html.table(*self._table()) if self else "<div>No suspects.</div>"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        head = ["index", "given", "suggested", "probability", "text"]
        rows = [
            [
                str(each.index),
                _label(each.given),
                _label(each.suggested),
                f"{each.probability:.3f}",
                brief(each.text, LONGEST),
            ]
            for each in self
        ]
        return head, rows


NUMBERS = ("index", "probability")
"""The columns that stand to the right."""


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(
            f"{value:>{width}}" if name in NUMBERS else f"{value:{width}}"
            for name, value, width in zip(head, row, widths, strict=True)
        ).rstrip()
        for row in [head, *rows]
    ]


def _label(value: Any) -> str:
    text = ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
    return brief(text, LONGEST_LABEL)
