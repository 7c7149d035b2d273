"""Tables in text files: .csv and .tsv, with the quotes that stand where none should."""

from __future__ import annotations

import csv
import io
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightadapt.data.records import Records
from lightadapt.errors import DataError, listed, shown, warn

LONGEST_FIELD = 2**31 - 1
"""Characters: the most that the csv module can be told to take."""
_LIMIT = threading.Lock()


def read_table(text: str, path: Path, delimiter: str) -> Records:
    """One record a line below the header, or over several lines where a field is quoted.

    Raises:
        DataError: a line has more or fewer fields than the header, or a quote swallows the lines behind it.
    """
    records = _parse(text, path, delimiter, csv.QUOTE_MINIMAL)
    if not any("\n" in (value or "") for item in records for value in item.values()):
        return records
    if delimiter == "\t":
        # A field over several lines in a tab-separated file is most often a stray quote that swallowed its
        # neighbours: then every line is whole when quotes mean nothing.
        with suppress(DataError):
            literal = _parse(text, path, delimiter, csv.QUOTE_NONE)
            if _are_rows(literal, records):
                return literal
    _check_swallowed(records, text.split("\n"), delimiter)
    return records


def _parse(text: str, path: Path, delimiter: str, quoting: Any) -> Records:
    """The records; the limit of the csv module, which is one for the process, is raised only where that is needed."""
    try:
        return _parse_within(text, path, delimiter, quoting)
    except DataError as error:
        if not (isinstance(error.__cause__, csv.Error) and "field larger" in str(error.__cause__)):
            raise
    with _long_fields():
        return _parse_within(text, path, delimiter, quoting)


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let fields be of any length, for one reader of ours at a time, and then as long as they could be before."""
    with _LIMIT:
        before = csv.field_size_limit(LONGEST_FIELD)
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _parse_within(text: str, path: Path, delimiter: str, quoting: Any) -> Records:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
    header: list[str] = []
    items, lines = [], []
    before = 0
    while True:
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise DataError(
                f"{path}: the record that begins in line {before + 1} is broken ({error}). Most often a quote is not "
                "closed; a quote inside a quoted field is written twice."
            ) from error
        start, before = before + 1, reader.line_num
        if not header:
            header = row
            _check_header(header, path)
            continue
        if not row:
            continue
        if len(row) != len(header):
            raise DataError(
                f"{path}, line {start} has {len(row)} fields but the header has {len(header)} "
                f"({listed(header)}). Quote fields that contain the separator."
            )
        items.append({name: value if value != "" else None for name, value in zip(header, row, strict=True)})
        lines.append(start)
    return Records(items, str(path), lines)


def _check_header(header: list[str], path: Path) -> None:
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise DataError(f"{path} has two columns named {shown(twice[0])}. Rename one of them.")


def _are_rows(literal: Records, quoted: Records) -> bool:
    """Whether lines are records of their own in which quotes mean nothing; there is a warning of the other reading.

    In one column any line is a record, and quotes around the names of the columns mean what they mean elsewhere.
    """
    names = list(literal.items[0])
    if len(names) < 2 or names != list(quoted.items[0]):
        return False
    index = next(index for index, item in enumerate(quoted) if any("\n" in (value or "") for value in item.values()))
    warn(
        f"{quoted.place(index)}: a quote stands at the start of a field, and its end lines below. Two readings: a text "
        "with line breaks and tabs, or stray quotes in records of one line each. It is read as the second one, so each "
        "quote of the file is a part of its text; use .jsonl if it is the first one."
    )
    return True


def _check_swallowed(records: Records, lines: list[str], delimiter: str) -> None:
    """Refuse or warn of a quoted field each of whose lines would be a record of its own: two stray quotes make one.

    A text may have commas in its lines; that it swallowed records is sure where their other fields hold what these
    hold in the rest of the file, as a label does.
    """
    assert records.lines is not None
    values: dict[str, set[str | None]] = {}
    for index, item in enumerate(records):
        field = next((name for name, value in item.items() if "\n" in (value or "")), None)
        if field is None:
            continue
        first = records.lines[index] - 1
        count = sum((value or "").count("\n") for value in item.values()) + 1
        rows = _whole_rows(lines[first : first + count], list(item), delimiter)
        if not rows:
            continue
        for name in item:
            if name not in values:
                values[name] = {each[name] for each in records}
        others = [name for name in item if "\n" not in (item[name] or "") and len(values[name]) < len(records)]
        said = (
            f"{records.place(index)}: {field} goes over {count} lines, each of which would be a record of its own. Two "
            "readings: a text with line breaks, or a stray quote that swallowed records."
        )
        if any(all(row[name] in values[name] for row in rows) for name in others):
            raise DataError(
                f"{said} Their {listed(others)} would be known values, so it is the second one: write each quote "
                "inside a text twice, and put the text between quotes; or use .jsonl."
            )
        if not any(value[:1] == " " for row in rows for value in row.values()):  # prose has a space behind a comma
            warn(f"{said} It is read as the first one; write each quote inside a text twice if it is the second one.")


def _whole_rows(lines: list[str], header: list[str], delimiter: str) -> list[dict[str, str]]:
    """The lines as records of their own, if quotes meant nothing; none when one of them is not whole."""
    rows = [line.split(delimiter) for line in lines]
    if len(header) < 2 or any(len(row) != len(header) for row in rows):
        return []
    return [dict(zip(header, row, strict=True)) for row in rows]
