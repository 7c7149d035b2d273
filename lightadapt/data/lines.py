"""The lines of a text file, in memory or, where it is large, on the disk, and which of them begin a record."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from lightadapt.data.encodings import decode
from lightadapt.data.packed import is_packed, large_or_none, unpack
from lightadapt.data.records import Record, Records
from lightadapt.data.skipping import BadRecords
from lightadapt.data.stored import OnDisk
from lightadapt.errors import DataError

LARGE = 2**23
"""Bytes from which a file is not held in memory."""
AT_ONCE = 256
"""Lines that are read together where one follows the other."""
BOM = b"\xef\xbb\xbf"


def read_lines(path: Path) -> Sequence[str]:
    """The lines of a file, without their ends.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    if is_packed(path):
        unpacked = large_or_none(path, LARGE)
        return read_text(path).split("\n") if unpacked is None else FileLines(Path(unpacked.name), path, unpacked)
    return FileLines(path) if size_of(path) >= LARGE else read_text(path).split("\n")


def read_text(path: Path) -> str:
    """The whole text of a file, with one kind of line end.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    return decode(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """The whole content of a file, unpacked where it is packed.

    Raises:
        DataError: it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    return unpack(content, path) if is_packed(path) else content


def size_of(path: Path) -> int:
    """The bytes of a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from error


class Found:
    """Which lines of a file begin a record, noted while the records are read."""

    def __init__(self, path: Path, bad: BadRecords) -> None:
        self.lines = array("Q")
        self._documents = array("Q")
        self._document = 0
        self._path = path
        self._numbers = array("Q")
        self._bad = bad
        self._left_out = 0

    def add(self, line: int) -> None:
        """Note a record that begins in this line, counted from 1."""
        self._numbers.append(len(self.lines) + self._left_out)
        self.lines.append(line)
        self._documents.append(self._document)

    def begin_document(self) -> None:
        """Note that the records from here on are of another document."""
        self._document += 1

    def leave_out(self, error: DataError) -> None:
        """Count a record that cannot be read.

        Raises:
            DataError: the error itself, where no record may be left out.
        """
        self._bad.meet(len(self.lines) + self._left_out, error)
        self._left_out += 1

    def records(self, items: Sequence[Record]) -> Records:
        """The records that were found, which know their lines."""
        records = Records(items, str(self._path), self.lines, self._numbers if self._left_out else None)
        return replace(records, documents=self._documents) if self._document else records


class FileLines(OnDisk[str]):
    """The lines of a file that is read once for where they begin, and again as they are asked for.

    Memory holds 8 bytes a line. The file must stay as it is: one that has changed is refused.

    Raises:
        DataError: the file cannot be read, or is not UTF-8.
    """

    _reader: BinaryIO | None = None
    _process: int | None = None

    def __init__(self, path: Path, named: Path | None = None, keep: Any = None) -> None:
        """Read where the lines begin.

        Args:
            named: what the caller calls it, where the content lies elsewhere.
            keep: what is there as long as this is.
        """
        self._path = path.absolute()
        self._named = self._path if named is None else named
        self._keep = keep
        file = self._file()
        self._stamp = _stamp_of(file)
        self._bounds = array("Q")
        end = 0
        for start, line in _lines_in(file):
            self._bounds.append(start)
            end = start + len(line)
            if b"\0" in line or not _is_utf8(line):
                decode(read_bytes(path), self._named)  # says what is wrong, from all of the file
                raise self._changed()
        self._bounds.append(end)

    def __del__(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def __getstate__(self) -> dict[str, Any]:
        """What another reader of the file needs."""
        return {**super().__getstate__(), "_reader": None, "_process": None, "_keep": None}

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), AT_ONCE):
            yield from self._some(start, min(start + AT_ONCE, len(self)))

    def _read(self, position: int) -> str:
        return self._some(position, position + 1)[0]

    def _some(self, start: int, stop: int) -> list[str]:
        """The lines of neighbouring positions, read together."""
        bounds = self._bounds[start : stop + 1]
        file = self._file()
        file.seek(bounds[0])
        content = file.read(bounds[-1] - bounds[0])
        if _stamp_of(file) != self._stamp:
            raise self._changed()
        return [
            content[begin - bounds[0] : end - bounds[0]].rstrip(b"\r\n").decode() for begin, end in pairwise(bounds)
        ]

    def _file(self) -> BinaryIO:
        """The open file, of this process alone: its position would be shared with the one that forked."""
        if self._reader is None or self._process != os.getpid():
            try:
                self._reader, self._process = self._path.open("rb"), os.getpid()
            except OSError as error:
                raise _unreadable(self._named, error) from error
        return self._reader

    def _changed(self) -> DataError:
        return DataError(
            f"{self._named} has changed since it was read. A large file is read again piece by piece, so it must stay "
            "as it is until that is done: write to another file, and start again."
        )


def _lines_in(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Where each line begins, and its bytes; behind each of the three kinds of line end a new one begins."""
    start = len(BOM) if file.read(len(BOM)) == BOM else 0
    file.seek(start)
    for stretch in file:
        for line in stretch.splitlines(keepends=True) if b"\r" in stretch else (stretch,):
            yield start, line
            start += len(line)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _stamp_of(file: BinaryIO) -> tuple[int, int]:
    """What of a file is another when its content is: size and time of the last change."""
    facts = os.fstat(file.fileno())
    return facts.st_size, facts.st_mtime_ns


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path} cannot be read ({error.strerror or error}). Check its permissions.")
