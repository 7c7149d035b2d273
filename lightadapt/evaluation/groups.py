"""Which records belong together, such as the sentences of a document: they are no independent witnesses."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

import numpy as np

from lightadapt.data import Records
from lightadapt.errors import LightAdaptError
from lightadapt.tasks import Task

DOCUMENT_FIELDS = ("document_id", "doc_id", "document", "article_id")
"""Fields in which data sets name the document that a record is a part of."""
ENOUGH = 10
"""Groups from which they are taken for the unit: fewer say too little of how groups differ."""


class Groups(NamedTuple):
    """The group of each record, and what the groups are."""

    numbers: np.ndarray
    """`(N,)`, from 0 on."""
    count: int
    """How many groups there are."""
    kind: str | None
    """What records of a group have in common, in a word; None where each record is a group of its own."""

    @property
    def described(self) -> str:
        """`1,000 records`, or `1,000 records of 48 documents`."""
        total = f"{len(self.numbers):,} record{'s' * (len(self.numbers) != 1)}"
        return total if self.kind is None else f"{total} of {self.count:,} {self.kind}s"

    def check_several(self, why: str) -> None:
        """Raise where there is nothing to draw from.

        Args:
            why: what is asked for.

        Raises:
            LightAdaptError: there are fewer than two.
        """
        if self.count < 2:
            raise LightAdaptError(
                f"{why}: the data holds {self.described}, and how much a score varies is told from two at least. Give "
                "more records, or leave it out."
            )


def groups_of(records: Records, task: Task) -> Groups:
    """The groups of the records by what the data tells first, where that makes ten groups or more.

    A field that names the document; the documents of a CoNLL file (`-DOCSTART-`); the line of a file that several
    records come from, as of nested articles; the fields by which the task knows what belongs together (a title or a
    context of questions, the context of choices). Else each record is a group of its own.
    """
    for name in (*DOCUMENT_FIELDS, *task.group_fields):
        values = [record.get(name) for record in records.items]
        if all(isinstance(value, Hashable) and value not in (None, "") for value in values):
            found = _numbered(values, name.removesuffix("_id").replace("doc", "document", name.startswith("doc_")))
            if found is not None:
                return found
    for values, kind in ((records.documents, "document"), (_lines(records), "line")):
        found = None if values is None else _numbered(values, kind)
        if found is not None:
            return found
    return Groups(np.arange(len(records)), len(records), None)


def _lines(records: Records) -> list[tuple[int, int]] | None:
    """The file and the line of each record, where all are known."""
    if records.lines is None or not all(records.lines):
        return None
    files = records.file_of or [0] * len(records)
    return list(zip(files, records.lines, strict=True))


def _numbered(values: Iterable[Hashable], kind: str) -> Groups | None:
    """Groups of equal values; None where they are too few, or all different."""
    places: dict[Hashable, int] = {}
    numbers = np.array([places.setdefault(value, len(places)) for value in values])
    return Groups(numbers, len(places), kind) if ENOUGH <= len(places) < len(numbers) else None
