"""What data becomes: records that know their origin, so that an error can say where to look."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from lightadapt.data.stored import chosen

Record: TypeAlias = dict[str, Any]
UNNAMED = "data"
"""What data is called that has no name of its own, as a file has one."""


@dataclass(frozen=True)
class Called:
    """Data of any form that is one of several in a call, with the name by which an error tells it from the others."""

    data: Any
    name: str


@dataclass(frozen=True)
class Records:
    """Records with their origin, so that an error can say where to look."""

    items: Sequence[Record]
    source: str = UNNAMED
    """What the records were read from, as the caller named it."""
    lines: Sequence[int] | None = None
    """First line of each record in a text file, counted from 1; 0 where it is not known."""
    numbers: Sequence[int] | None = None
    """The number of each record in the data that the caller gave; None: they count from 0."""
    form: str | None = None
    """What form they were in, such as `doccano (JSON lines)`; None: dicts, or rows of a table in memory."""
    files: Sequence[str] | None = None
    """The files that they were read from, where there are several."""
    file_of: Sequence[int] | None = None
    """Which of the files each record was read from."""

    documents: Sequence[int] | None = None
    """The document that each record is a part of, by numbers, where a file tells: by a line that begins one, or by
    several records in one."""
    needed: Sequence[str] | None = None
    """The fields of the task that they were read for; None: for none."""
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
            file_of=self.file_of and array("Q", (self.file_of[place] for place in places)),
            documents=self.documents and array("Q", (self.documents[place] for place in places)),
            numbers=array("Q", map(self.number, places)),
        )

    def part(self, start: int, stop: int) -> Records:
        """The records of these places, in memory."""
        places = range(start, min(stop, len(self)))
        return replace(self.only(places), items=self.items[start:stop])

    def place(self, index: int) -> str:
        """The name of a record for an error message: `Record 17 (train.jsonl, line 18)`; counted from 0."""
        number = self.number(index)
        source = self.source if self.files is None or self.file_of is None else self.files[self.file_of[index]]
        if self.lines is not None and self.lines[index]:
            return f"Record {number} ({source}, line {self.lines[index]})"
        return f"Record {number}" if source == UNNAMED else f"Record {number} ({source})"

    def described(self, purpose: str) -> str:
        """A sentence on what was read: `train.json: Label Studio (JSON), 120 records read as ner`."""
        form = "" if self.form is None else f"{self.form}, "
        return f"{self.source}: {form}{len(self):,} record{'s' * (len(self) != 1)} read as {purpose}"
