"""Records in files: what cannot be read is named by file, line or column."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lightadapt.data.conll import read_conll
from lightadapt.data.lines import FileLines, Found, read_lines, read_text
from lightadapt.data.records import Record, Records
from lightadapt.data.separated import read_table
from lightadapt.data.skipping import BadRecords
from lightadapt.data.stored import OnDisk
from lightadapt.errors import DataError, shown

CONLL_SUFFIXES = (".conll", ".bio", ".txt")
TABLE_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")


def read_file(path: Path, suffix: str, bad: BadRecords) -> Records:
    """The records of a file of a known kind; those of a large text file are read from it as they are asked for.

    Args:
        bad: takes records that are broken in themselves, so that those behind them can still be read.

    Raises:
        DataError: it cannot be read, is not UTF-8, or is broken.
    """
    if suffix == ".parquet":
        return Records(_read_parquet(path), str(path))
    if suffix == ".json":
        return _read_json(path, bad)
    lines = read_lines(path)
    if suffix in CONLL_SUFFIXES:
        return read_conll(lines, path, bad)
    if suffix == ".jsonl":
        return _read_json_lines(lines, path, bad)
    return read_table(lines, path, "\t" if suffix == ".tsv" else ",", bad)


# ---- JSON


class JsonLines(OnDisk[Any]):
    """The values in the lines of a large file, each parsed when it is asked for."""

    def __init__(self, lines: FileLines, numbers: Sequence[int]) -> None:
        self._lines = lines
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Any]:
        numbers = iter(self._numbers)
        wanted = next(numbers, 0)
        for number, line in enumerate(self._lines, 1):
            if number == wanted:
                yield parse_json(line)
                wanted = next(numbers, 0)

    def _read(self, position: int) -> Any:
        return parse_json(self._lines[self._numbers[position] - 1])


def _read_json_lines(lines: Sequence[str], path: Path, bad: BadRecords) -> Records:
    found = Found(path, bad)
    items = _json_items(lines, path, found)
    if not isinstance(lines, FileLines):
        return found.records(list(items))
    deque(items, maxlen=0)  # to see that all are JSON
    return found.records(JsonLines(lines, found.lines))


def _json_items(lines: Iterable[str], path: Path, found: Found) -> Iterator[Any]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            item = parse_json(line)
        except ValueError as error:
            found.leave_out(
                DataError(
                    f"{path}, line {number} is not JSON ({error}): {shown(line)}. In a .jsonl file each line is one "
                    "record."
                )
            )
            continue
        found.add(number)
        yield item


def _read_json(path: Path, bad: BadRecords) -> Records:
    text = read_text(path)
    try:
        content = parse_json(text)
    except ValueError as error:
        cause = error.__cause__
        if isinstance(cause, json.JSONDecodeError) and cause.msg == "Extra data":
            return _read_json_lines(
                text.split("\n"), path, bad
            )  # a .jsonl file under another name, as some exports have it
        raise DataError(f"{path} is not JSON ({error}).") from error
    if isinstance(content, dict) and isinstance(content.get("data"), list):
        content = content["data"]
    if not isinstance(content, list):
        raise DataError(f"{path} holds a {type(content).__name__}. It must hold a list of records.")
    return Records(content, str(path))


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: saying why it has none, or none that is sure.
    """
    try:
        return DECODER.decode(text)
    except json.JSONDecodeError as error:
        line = f" in line {error.lineno}" if error.lineno > 1 else ""
        raise ValueError(f"{error.msg}{line}") from error
    except RecursionError as error:
        raise ValueError("its lists or objects are nested too deeply") from error
    except ValueError as error:
        if "digits" in str(error):  # Python's own limit
            raise ValueError("it holds a whole number of thousands of digits; write it as a text") from error
        raise


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The dict of an object, whose names must differ: parsers do not agree on which of two values holds."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"an object names {shown(twice)} twice; keep one of them")
    return found


DECODER = json.JSONDecoder(object_pairs_hook=_object)
"""Made once, since that takes as long as a short line."""


# ---- parquet


def _read_parquet(path: Path) -> list[Record]:
    from pyarrow import ArrowException, parquet

    try:
        table = parquet.read_table(path)
        list(table.column_names)  # which may be no text
    except (ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable parquet file: {error}") from error
    return rows_of_table(table, str(path))


def rows_of_table(table: Any, source: str) -> list[Record]:
    """The rows of an Arrow table as dicts.

    Raises:
        DataError: two columns have the same name, or a column holds what Python cannot, such as a date of the year
            12,000 or bytes that are no text.
    """
    names = table.column_names
    twice = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
    if twice:
        raise DataError(f"{source} has two columns named {shown(twice[0])}. Rename one of them.")
    columns = []
    for name in names:
        try:
            columns.append(table[name].to_pylist())
        except Exception as error:  # OverflowError, UnicodeDecodeError, ArrowInvalid, … by the kind of the column
            row = _unreadable_row(table[name])
            raise DataError(
                f"Record {row} ({source}): {name} holds a value that cannot be read ({type(error).__name__}: {error}). "
                "Correct it, or leave the column out."
            ) from error
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _unreadable_row(column: Any) -> int:
    """The first row whose value Python cannot hold."""
    for row in range(len(column)):
        try:
            column[row].as_py()
        except Exception:  # as above
            return row
    return 0
