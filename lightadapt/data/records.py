"""What data becomes: records that know their origin, so that an error can say where to look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Record: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Records:
    """Records with their origin, so that an error can say where to look."""

    items: Sequence[Record]
    source: str = "data"
    """What the records were read from, as the caller named it."""
    lines: list[int] | None = None
    """First line of each record in a text file, counted from 1."""
    numbers: Sequence[int] | None = None
    """What each record is counted as, where they are some of many; None: from 0."""

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.items)

    def place(self, index: int) -> str:
        """The name of a record for an error message: `Record 17 (train.jsonl, line 18)`; counted from 0."""
        number = index if self.numbers is None else self.numbers[index]
        if self.lines is not None:
            return f"Record {number} ({self.source}, line {self.lines[index]})"
        return f"Record {number}" if self.source == "data" else f"Record {number} ({self.source})"
