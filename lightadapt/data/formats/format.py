"""What a form of records is that other tools write: how it is told, and what it becomes for a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from lightadapt.data.records import Record


class Wanted(NamedTuple):
    """What a task needs of records that another tool has written."""

    fields: Sequence[str]
    """The fields that a record of the task may have."""
    labelled: bool = True
    """Whether the answer must be there."""
    answers: Sequence[str] = ()
    """The fields of the answer."""
    numeric: bool = False
    """Whether the answer is a number."""
    named: Mapping[str, str] = {}
    """`{field: column}` that the caller has chosen among the fields of the other tool."""


class Format(ABC):
    """A form of records. One is a file of its own, and known from its row in `FORMATS` on."""

    name: ClassVar[str]
    """What people call it."""
    signs: ClassVar[tuple[str, ...]]
    """The fields by which a reader knows it, as errors list them."""
    gives: ClassVar[frozenset[str]]
    """Fields of tasks; a task that has none of them has no use for the form."""
    mixes: ClassVar[bool] = False
    """Whether records of the task's own form may stand among those of this one."""

    @abstractmethod
    def fits(self, item: Any) -> bool:
        """Whether this is a record of the form, and none of a task's own; it never raises."""

    def takes(self, item: Any) -> bool:
        """Whether this may stand among records of the form, where it is known already; it never raises."""
        return self.fits(item)

    def told(self, wanted: Wanted) -> str:
        """What else there is to say of how it is read for the task; most often nothing."""
        return ""

    @abstractmethod
    def convert(self, item: Any, wanted: Wanted, notes: Counter[str]) -> list[Record]:
        """The records that it is for the task: one, none where it is left out, or several.

        Args:
            notes: takes what is to be told of, by the number of records of which it is so.

        Raises:
            DataError: it cannot be one of the task's, and why; whoever knows the place puts it before that.
        """


def is_text(value: Any) -> bool:
    """Whether a value is a text with anything in it."""
    return isinstance(value, str) and bool(value.strip())


def has_dicts(value: Any, *keys: str) -> bool:
    """Whether a value is a list, not empty, of dicts each of which has these keys."""
    if not isinstance(value, (list, tuple)) or not value:
        return False
    return all(isinstance(each, Mapping) and all(key in each for key in keys) for each in value)
