"""Tables in text files: .csv and .tsv, with the quotes that stand where none should."""

from __future__ import annotations

import csv
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightadapt.data.lines import Found
from lightadapt.data.records import Record, Records
from lightadapt.data.skipping import BadRecords
from lightadapt.data.stored import stored_like
from lightadapt.errors import DataError, listed, shown, warn

LONGEST_FIELD = 2**31 - 1
"""Characters: the most that the csv module can be told to take."""
_LIMIT = threading.Lock()


def read_table(lines: Sequence[str], path: Path, delimiter: str, bad: BadRecords) -> Records:
    """One record a line below the header, or over several lines where a field is quoted.

    Raises:
        DataError: a line has more or fewer fields than the header, or a quote swallows the lines behind it.
    """
    left_out = bad.another()
    records = _parse(lines, path, delimiter, csv.QUOTE_MINIMAL, left_out)
    if any("\n" in (value or "") for item in records for value in item.values()):
        if delimiter == "\t":
            # A field over several lines in a tab-separated file is most often a stray quote that swallowed its
            # neighbours: then every line is whole when quotes mean nothing.
            with suppress(DataError):
                literal = _parse(lines, path, delimiter, csv.QUOTE_NONE, BadRecords())
                if _are_rows(literal, records):
                    return literal
        _check_swallowed(records, lines, delimiter)
    bad.take(left_out)
    return records


def _parse(lines: Sequence[str], path: Path, delimiter: str, quoting: Any, bad: BadRecords) -> Records:
    """The records; the limit of the csv module, which is one for the process, is raised only where that is needed."""
    left_out = bad.another()
    try:
        records = _parse_within(lines, path, delimiter, quoting, left_out)
    except DataError as error:
        if not (isinstance(error.__cause__, csv.Error) and "field larger" in str(error.__cause__)):
            raise
    else:
        bad.take(left_out)
        return records
    with _long_fields():
        return _parse_within(lines, path, delimiter, quoting, bad)


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let fields be of any length, for one reader of ours at a time, and then as long as they could be before."""
    with _LIMIT:
        before = csv.field_size_limit(LONGEST_FIELD)
        try:
            yield
        finally:
            csv.field_size_limit(before)


def _parse_within(lines: Sequence[str], path: Path, delimiter: str, quoting: Any, bad: BadRecords) -> Records:
    found = Found(path, bad)
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, quoting=quoting, strict=True)
    return found.records(stored_like(lines, _items(_rows(reader, path), path, found)))


def _rows(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table, each with the line in which it begins."""
    before = 0
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{path}: the record that begins in line {before + 1} is broken ({error}). Most often a quote is not "
                "closed; a quote inside a quoted field is written twice."
            ) from error
        yield before + 1, row
        before = reader.line_num


def _items(rows: Iterator[tuple[int, list[str]]], path: Path, found: Found) -> Iterator[Record]:
    _, header = next(rows, (0, []))
    _check_header(header, path)
    for start, row in rows:
        if len(row) == len(header):
            found.add(start)
            yield {name: value if value != "" else None for name, value in zip(header, row, strict=True)}
        elif row:
            found.leave_out(
                DataError(
                    f"{path}, line {start} has {len(row)} fields but the header has {len(header)} "
                    f"({listed(header)}). Quote fields that contain the separator."
                )
            )


def _check_header(header: list[str], path: Path) -> None:
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise DataError(f"{path} has two columns named {shown(twice[0])}. Rename one of them.")


def _are_rows(literal: Records, quoted: Records) -> bool:
    """Whether lines are records of their own in which quotes mean nothing; there is a warning of the other reading.

    In one column any line is a record, and quotes around the names of the columns mean what they mean elsewhere.
    """
    names = list(literal.items[0]) if len(literal) else []
    if len(names) < 2 or names != list(quoted.items[0]):
        return False
    index = next(index for index, item in enumerate(quoted) if any("\n" in (value or "") for value in item.values()))
    warn(
        f"{quoted.place(index)}: a quote stands at the start of a field, and its end lines below. Two readings: a text "
        "with line breaks and tabs, or stray quotes in records of one line each. It is read as the second one, so each "
        "quote of the file is a part of its text; use .jsonl if it is the first one."
    )
    return True


def _check_swallowed(records: Records, lines: Sequence[str], delimiter: str) -> None:
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


def _whole_rows(lines: Sequence[str], header: list[str], delimiter: str) -> list[dict[str, str]]:
    """The lines as records of their own, if quotes meant nothing; none when one of them is not whole."""
    rows = [line.split(delimiter) for line in lines]
    if len(header) < 2 or any(len(row) != len(header) for row in rows):
        return []
    return [dict(zip(header, row, strict=True)) for row in rows]
