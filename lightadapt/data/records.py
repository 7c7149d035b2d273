"""What data becomes: records that know their origin, so that an error can say where to look."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from lightadapt.data.stored import chosen

Record: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Records:
    """Records with their origin, so that an error can say where to look."""

    items: Sequence[Record]
    source: str = "data"
    """What the records were read from, as the caller named it."""
    lines: Sequence[int] | None = None
    """First line of each record in a text file, counted from 1."""
    numbers: Sequence[int] | None = None
    """What each record is counted as, where they are some of many; None: from 0."""

    fields: Sequence[Any] | None = None
    """The fields that occur in any of them; None: nobody has looked."""

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.items)

    def number(self, index: int) -> int:
        """What a record is counted as in the data that the caller gave."""
        return index if self.numbers is None else self.numbers[index]

    def only(self, places: Sequence[int]) -> Records:
        """Some of the records, which keep their numbers and lines."""
        return replace(
            self,
            items=chosen(self.items, places),
            lines=self.lines and array("Q", (self.lines[place] for place in places)),
            numbers=array("Q", map(self.number, places)),
        )

    def part(self, start: int, stop: int) -> Records:
        """The records of these places, in memory."""
        places = range(start, min(stop, len(self)))
        return replace(self.only(places), items=self.items[start:stop])

    def place(self, index: int) -> str:
        """The name of a record for an error message: `Record 17 (train.jsonl, line 18)`; counted from 0."""
        number = self.number(index)
        if self.lines is not None:
            return f"Record {number} ({self.source}, line {self.lines[index]})"
        return f"Record {number}" if self.source == "data" else f"Record {number} ({self.source})"
