"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_ESCAPED = str.maketrans({"|": "\\|", "\n": " "})


def as_row(cells: Iterable[object]) -> str:
    """The line of a table; what would end a cell or the line is written so that it does not."""
    return f"| {' | '.join(str(cell).translate(_ESCAPED) for cell in cells)} |"


def as_head(names: Sequence[object]) -> str:
    """The two lines at the top of a table."""
    return f"{as_row(names)}\n{as_row(['---'] * len(names))}"


def as_table(names: Sequence[object], rows: Iterable[Iterable[object]]) -> str:
    """A whole table."""
    return "\n".join([as_head(names), *map(as_row, rows)])


@dataclass(frozen=True)
class Table:
    """A table whose row is a format of the values that a mapping holds.

    >>> table = Table("method | score", "{method} | {score:.1%}")
    >>> print(table.of([{"method": "lora", "score": 0.912}]))
    | method | score |
    | --- | --- |
    | lora | 91.2% |
    """

    names: str
    form: str

    @property
    def head(self) -> str:
        """The two lines at the top."""
        return as_head(self.names.split(" | "))

    def row(self, values: Mapping[str, Any]) -> str:
        """The line of these values."""
        return as_row(cell.format_map(values) for cell in self.form.split(" | "))

    def of(self, rows: Iterable[Mapping[str, Any]]) -> str:
        """The whole table."""
        return "\n".join([self.head, *map(self.row, rows)])
