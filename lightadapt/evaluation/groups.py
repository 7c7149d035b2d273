"""Which records belong together, such as the sentences of a document: they are no independent witnesses."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lightadapt.data import Records
from lightadapt.errors import LightAdaptError
from lightadapt.tasks import Task

DOCUMENT_FIELDS = {
    **dict.fromkeys(("document_id", "doc_id", "document"), "documents"),
    "article_id": "articles",
}
"""Fields in which data sets name the document that a record is a part of, and what those are called."""
ENOUGH = 10
"""Groups from which they are taken for the unit: fewer say too little of how groups differ."""


class Groups(NamedTuple):
    """The group of each record, and what the groups are."""

    numbers: np.ndarray
    """`(N,)`, from 0 on."""
    size: int
    """How many groups there are."""
    kind: str | None
    """What the groups are, in a word; None where each record is a group of its own."""

    @property
    def described(self) -> str:
        """`1,000 records`, or `1,000 records of 48 documents`."""
        total = f"{len(self.numbers):,} record{'s' * (len(self.numbers) != 1)}"
        return total if self.kind is None else f"{total} of {self.size:,} {self.kind}"

    def check_several(self, why: str) -> None:
        """Raise where there is nothing to draw from.

        Args:
            why: what is asked for.

        Raises:
            LightAdaptError: there are fewer than two.
        """
        if self.size < 2:
            raise LightAdaptError(
                f"{why}: the data holds {self.described}, and how much a score varies is told from two at least. Give "
                "more records, or leave it out."
            )


def groups_of(records: Records, task: Task) -> Groups:
    """The groups of the records by what the data tells first, where that makes ten groups or more.

    A field that names the document; the documents of a CoNLL file (`-DOCSTART-`), or what holds several records in a
    file, as articles of SQuAD do; the fields by which the task knows what belongs together (a title or a
    context of questions, the context of choices). Else each record is a group of its own.
    """
    ways: list[tuple[Sequence[Any] | None, str]] = [
        *((_values(records, name), kind) for name, kind in DOCUMENT_FIELDS.items()),
        (records.documents, "documents"),
        *((_values(records, name), f"{name}s") for name in task.group_fields),
    ]
    for values, kind in ways:
        found = None if values is None else _numbered(values, kind)
        if found is not None:
            return found
    return Groups(np.arange(len(records)), len(records), None)


def _values(records: Records, name: str) -> list[Any] | None:
    """What each record has in a field; None where some have nothing there, or what cannot be compared."""
    found = [record.get(name) for record in records.items]
    return found if all(isinstance(each, Hashable) and each not in (None, "") for each in found) else None


def _numbered(values: Iterable[Hashable], kind: str) -> Groups | None:
    """Groups of equal values; None where they are too few, or all different."""
    places: dict[Hashable, int] = {}
    numbers = np.array([places.setdefault(value, len(places)) for value in values])
    return Groups(numbers, len(places), kind) if ENOUGH <= len(places) < len(numbers) else None
