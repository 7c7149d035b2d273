"""Records in files: what cannot be read is named by file, line or column."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightadapt.data.conll import CONLL, read_conll
from lightadapt.data.formats import brat, spacy
from lightadapt.data.lines import FileLines, Found, read_lines, read_text
from lightadapt.data.packed import is_packed, suffix_of
from lightadapt.data.records import Record, Records
from lightadapt.data.separated import read_table
from lightadapt.data.skipping import BadRecords
from lightadapt.data.stored import OnDisk
from lightadapt.errors import DataError, shown

CONLL_SUFFIXES = (".conll", ".bio", ".txt")
TABLE_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
TOOL_SUFFIXES = (brat.SUFFIX, spacy.SUFFIX)
SUFFIXES = TABLE_SUFFIXES + CONLL_SUFFIXES + TOOL_SUFFIXES
"""Of all files that are read; packed ones have one more behind it."""
LISTS = ("data", "annotations")
"""Under which name an object of a .json may hold its records: SQuAD's and ours, and that of spaCy's annotators."""


def read_file(path: Path, columns: Mapping[str, Any], bad: BadRecords) -> Records:
    """The records of a file of a known kind; those of a large text file are read from it as they are asked for.

    Args:
        columns: for the files whose columns are counted, see `read_conll`.
        bad: takes records that are broken in themselves, so that those behind them can still be read.

    Raises:
        DataError: it cannot be read, is not UTF-8, or is broken.
    """
    if brat.is_brat(path):
        return brat.read_brat(path, bad)
    records = _read_known(path, suffix_of(path), columns, bad)
    return replace(records, form=f"{records.form} in {path.suffix.lower()}") if is_packed(path) else records


def _read_known(path: Path, suffix: str, columns: Mapping[str, Any], bad: BadRecords) -> Records:
    if suffix in (".parquet", spacy.SUFFIX) and is_packed(path):
        raise DataError(f"{path} is packed, but {suffix} is read as it is only. Unpack it first.")
    if suffix == spacy.SUFFIX:
        return spacy.read_documents(path)
    if suffix == ".parquet":
        return Records(_read_parquet(path), str(path), form="parquet")
    if suffix == ".json":
        return _read_json(path, bad)
    lines = read_lines(path)
    if suffix in CONLL_SUFFIXES:
        return replace(read_conll(lines, path, columns, bad), form=CONLL)
    if suffix == ".jsonl":
        return _read_json_lines(lines, path, bad)
    table = read_table(lines, path, "\t" if suffix == ".tsv" else ",", bad)
    return replace(table, form=suffix[1:].upper())


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
    if (whole := _whole_list(lines)) is not None:
        return Records(whole, str(path), form="JSON")
    found = Found(path, bad)
    items = _json_items(lines, path, found)
    if not isinstance(lines, FileLines):
        return replace(found.records(list(items)), form="JSON lines")
    deque(items, maxlen=0)  # to see that all are JSON
    return replace(found.records(JsonLines(lines, found.lines)), form="JSON lines")


def _whole_list(lines: Sequence[str]) -> list[Any] | None:
    """The records of a list that stands in a file of lines under the wrong name; None where lines are records."""
    first = next((line.strip() for line in lines if line.strip()), "")
    if isinstance(lines, FileLines) or not first.startswith("["):
        return None
    try:
        found = parse_json("\n".join(lines))
    except ValueError:
        return None
    return found if isinstance(found, list) and found and all(isinstance(each, dict) for each in found) else None


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
            # A .jsonl file under another name, as some exports have it.
            return _read_json_lines(text.split("\n"), path, bad)
        raise DataError(f"{path} is not JSON ({error}).") from error
    if isinstance(content, dict):
        content = next((content[name] for name in LISTS if isinstance(content.get(name), list)), content)
    if not isinstance(content, list):
        raise DataError(f"{path} holds a {type(content).__name__}. It must hold a list of records.")
    return Records(content, str(path), form="JSON")


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
