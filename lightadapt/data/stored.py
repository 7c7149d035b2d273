"""Sequences that lie on a disk: for records, examples and features that would not fit into memory."""

from __future__ import annotations

import os
import pickle
import tempfile
import weakref
from abc import abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate, chain, islice
from typing import Any, Generic, TypeVar, overload

Item = TypeVar("Item")
Other = TypeVar("Other")


def own_file(suffix: str) -> Any:
    """A temporary file, open for writing and reading, which is gone with the object in the process that made it.

    Python's own would be gone with the copy of the object in a forked process, too.
    """
    if not hasattr(os, "fork"):
        return tempfile.NamedTemporaryFile(prefix="lightadapt-", suffix=suffix)
    file = tempfile.NamedTemporaryFile(prefix="lightadapt-", suffix=suffix, delete=False)  # noqa: SIM115, see _end
    weakref.finalize(file, _end, file.file, file.name, os.getpid())
    return file


def _end(file: Any, name: str, process: int) -> None:
    file.close()
    if os.getpid() == process:
        with suppress(OSError):
            os.unlink(name)


class OnDisk(Sequence[Item], Generic[Item]):
    """Items that are read from a disk one by one, as they are asked for."""

    _last: tuple[int, Any] = (-1, None)

    @abstractmethod
    def _read(self, position: int) -> Item:
        """The item at a position from 0 on."""

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self._read(position) for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        if self._last[0] != position:  # who parses a record asks for it once a field
            self._last = (position, self._read(position))
        item: Any = self._last[1]
        return item  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[Item]:
        return map(self._read, range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_last": (-1, None)}


class Stored(OnDisk[Item]):
    """The items of an iterable, read once and kept in a temporary file; memory holds 8 bytes of each.

    The file is gone with the object. Other processes read through handles of their own, whether they were forked or
    were sent the object.

    >>> words = Stored(word.upper() for word in ("one", "two", "three"))
    >>> len(words), words[-1], words[:2]
    (3, 'THREE', ['ONE', 'TWO'])
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._ends = array("Q", [0])
        self._file = own_file(".records")
        for item in items:
            data = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
            self._file.write(data)
            self._ends.append(self._ends[-1] + len(data))
        self._file.flush()
        self._name = self._file.name
        self._reader: Any = self._file
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        """What another reader of the file needs; the file stays that of this object."""
        return {**super().__getstate__(), "_file": None, "_reader": None, "_process": None}

    def __len__(self) -> int:
        return len(self._ends) - 1

    def _read(self, position: int) -> Item:
        if self._process != os.getpid():  # the position in the file is shared with the process that forked
            self._reader, self._process = open(self._name, "rb"), os.getpid()  # noqa: SIM115
        start, end = self._ends[position : position + 2]
        self._reader.seek(start)
        item: Item = pickle.loads(self._reader.read(end - start))
        return item


class Chosen(OnDisk[Item]):
    """Some of the items of another sequence on a disk, in the order of their places."""

    def __init__(self, source: Sequence[Item], places: Sequence[int]) -> None:
        self._source = source
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def _read(self, position: int) -> Item:
        return self._source[self._places[position]]


class Joined(OnDisk[Item]):
    """The items of several sequences, one behind the other."""

    def __init__(self, parts: Sequence[Sequence[Item]]) -> None:
        self._parts = parts
        self._ends = list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Item]:
        return chain.from_iterable(self._parts)

    def _read(self, position: int) -> Item:
        part = bisect_right(self._ends, position)
        return self._parts[part][position - (self._ends[part - 1] if part else 0)]


def joined(parts: Sequence[Sequence[Item]]) -> Sequence[Item]:
    """The items of all parts in one sequence, which stay on the disk when any of them are there."""
    if any(isinstance(part, OnDisk) for part in parts):
        return Joined(parts)
    return list(chain.from_iterable(parts))


def chosen(source: Sequence[Item], places: Sequence[int]) -> Sequence[Item]:
    """The items at these places, which stay on the disk when they are there."""
    return Chosen(source, places) if isinstance(source, OnDisk) else [source[place] for place in places]


def stored_like(source: Iterable[Any], items: Iterable[Other]) -> Sequence[Other]:
    """The items as a list, or in a file when the source they are made of is in one."""
    return Stored(items) if isinstance(source, OnDisk) else list(items)


def pieces(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of this length; the last one may be shorter."""
    rest = iter(items)
    while piece := list(islice(rest, size)):
        yield piece
