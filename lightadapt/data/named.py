"""What a name stands for: a file, files that match a pattern, a folder, or a data set on the hub."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from glob import glob
from pathlib import Path
from typing import Any

from lightadapt.data.files import SUFFIXES, TABLE_SUFFIXES, read_file
from lightadapt.data.formats.brat import is_brat, read_brat
from lightadapt.data.lines import read_lines
from lightadapt.data.packed import suffix_of
from lightadapt.data.records import Record, Records
from lightadapt.data.skipping import BadRecords
from lightadapt.data.stored import joined, stored_like
from lightadapt.data.tables import SPLITS, read_rows
from lightadapt.errors import DataError, listed, nearest, shown, unquoted
from lightadapt.machine.hub import may_be_on_hub

FOREIGN_SUFFIXES = (
    ".arrow",
    ".feather",
    ".gz",
    ".html",
    ".md",
    ".pdf",
    ".pkl",
    ".xls",
    ".xlsx",
    ".xml",
    ".yaml",
    ".zip",
    ".zst",
)
"""Those of files that hold data as well, but are not read: no id on the hub ends so."""
PATTERN = "*?"
"""Characters that make a name stand for several files."""


def names_data(name: Any) -> bool:
    """Whether this is the name of a file with data, or of several, rather than a text.

    >>> names_data("data/*.jsonl"), names_data("train.csv.gz"), names_data("Where is it?")
    (True, True, False)
    """
    return isinstance(name, Path) or (isinstance(name, str) and suffix_of(name) in SUFFIXES)


def read_named(source: str | Path, split: str, columns: Mapping[str, Any], bad: BadRecords) -> Records:
    """The records that a name stands for.

    Args:
        split: what the data is for, where it may be one of several.
        columns: for the files whose columns are counted.

    Raises:
        DataError: there is nothing of that name, or it is of an unknown kind.
    """
    path = Path(source)
    try:
        is_folder, is_file, there = path.is_dir(), path.is_file(), path.exists()
    except (OSError, ValueError) as error:  # too long for a name, or with a NUL in it
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{shown(str(source))} is not a file name ({reason}). Texts go into a list.") from error
    suffix = suffix_of(path)
    if is_folder:
        return _read_folder(path, split, bad)
    if is_file:
        if suffix not in SUFFIXES:
            raise DataError(
                f"Unknown file type {shown(suffix)} of {path}. {nearest(suffix, SUFFIXES)}Known: {' '.join(SUFFIXES)}"
            )
        return read_file(path, columns, bad)
    if there:
        raise DataError(f"{path} is not a regular file. Give a file, or read it yourself and give a list of dicts.")
    if any(each in str(source) for each in PATTERN):
        return _read_pattern(str(source), columns, bad)
    if suffix in SUFFIXES or isinstance(source, Path) or _means_a_file(source):
        hint = "" if suffix in SUFFIXES else f" {nearest(suffix, SUFFIXES)}Known file types: {' '.join(SUFFIXES)}"
        raise DataError(f"File {unquoted(str(path), 200)} does not exist (looked from {Path.cwd()}).{hint}")
    return _read_hub(source, split)


def _read_folder(path: Path, split: str, bad: BadRecords) -> Records:
    """The texts of a folder of brat's; of any other, the error names the file that it should have been."""
    if is_brat(path):
        return read_brat(path, bad)
    files = sorted(file for file in path.iterdir() if suffix_of(file) in SUFFIXES)
    right = next((file for name in SPLITS.get(split, ()) for file in files if file.name.split(".")[0] == name), None)
    there = "" if not files else f" It has {listed(file.name for file in files)}."
    raise DataError(
        f"{path} is a folder. Give one file of it, such as {right or (files or [path / 'train.jsonl'])[0]}.{there}"
    )


def _means_a_file(name: str) -> bool:
    """Whether a name of nothing that is here is that of a file, so that the hub must not be asked for it.

    An id on the hub is a name or `owner/name`, with a dot in it only where it has an owner.
    """
    identifier = name.partition(":")[0]
    suffix = Path(identifier).suffix.lower()
    if "\\" in name or (suffix and "/" not in identifier) or not may_be_on_hub(identifier):
        return True
    return suffix in FOREIGN_SUFFIXES or bool(nearest(suffix, SUFFIXES))


def _read_hub(name: str, split: str) -> Records:
    import datasets

    identifier, _, own_split = name.partition(":")
    try:
        data = datasets.load_dataset(identifier, split=own_split or split)
    except Exception as error:  # the hub client raises many kinds; all mean that there is no such data
        raise DataError(
            f"{shown(name)} is neither a file here nor a data set that can be loaded from the hub "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}). "
            "Check the path, or the id and split ('owner/name:split')."
        ) from error
    return Records(read_rows(data), name, form="data set of the hub")


# ---- several files


def _read_pattern(pattern: str, columns: Mapping[str, Any], bad: BadRecords) -> Records:
    found = sorted(name for name in glob(pattern, recursive=True) if Path(name).is_file())
    if not found:
        raise DataError(f"No file matches {shown(pattern, 200)} (looked from {Path.cwd()}).")
    return read_several(found, columns, bad, name=pattern)


def read_several(
    names: Sequence[str | Path], columns: Mapping[str, Any], bad: BadRecords, *, name: str | None = None
) -> Records:
    """The records of several files, one behind the other; each knows its file.

    Args:
        name: what to call all of them.

    Raises:
        DataError: one of them is not there, cannot be read, or is of another kind than the first.
    """
    parts: list[Records] = []
    numbers, count = array("Q"), 0
    for each in names:
        left_out = bad.another()
        part = read_named(each, "train", columns, left_out)
        if parts and part.form != parts[0].form:
            raise DataError(
                f"{each} is {part.form}, but {names[0]} is {parts[0].form}. Give files of one form at a time."
            )
        parts.append(part)
        numbers.extend(count + part.number(index) for index in range(len(part)))
        count += len(part) + left_out.count
        bad.take(left_out)
    lines = array("Q", (line for part in parts for line in part.lines or [0] * len(part)))
    return Records(
        joined([part.items for part in parts]),
        name or f"{names[0]} and {len(names) - 1} more",
        lines,
        numbers if count > len(numbers) else None,
        form=f"{parts[0].form}, {len(parts)} file{'s' * (len(parts) != 1)}",
        files=tuple(map(str, names)),
        file_of=array("Q", (number for number, part in enumerate(parts) for _ in range(len(part)))),
    )


def are_parallel(names: Sequence[Any], fields: Sequence[str] | None) -> bool:
    """Whether these are two files of lines, of which each translates that of the other one.

    Args:
        fields: those of the task; None: not known.
    """
    if not isinstance(names, tuple) or len(names) != 2 or any(suffix_of(name) in TABLE_SUFFIXES for name in names):
        return False
    if fields is None:
        return all(suffix_of(name) not in SUFFIXES and Path(name).is_file() for name in names)
    return "target" in fields


def read_parallel(names: tuple[str | Path, str | Path]) -> Records:
    """One record a line of two files: `source` of the first and `target` of the second.

    Lines that are empty in both are left out.

    Raises:
        DataError: a file cannot be read, or one has more lines than the other.
    """
    paths = [Path(name) for name in names]
    for path in paths:
        if not path.is_file():
            raise DataError(f"File {unquoted(str(path), 200)} does not exist (looked from {Path.cwd()}).")
    sides = [read_lines(path) for path in paths]
    counts = [len(lines) - (len(lines) > 0 and not lines[-1].strip()) for lines in sides]
    if counts[0] != counts[1]:
        raise DataError(
            f"{paths[0]} has {counts[0]:,} lines but {paths[1]} has {counts[1]:,}. Each line is to be the translation "
            "of the one of the same number in the other file."
        )
    lines = array("Q")

    def records() -> Any:
        for number, (source, target) in enumerate(zip(*sides, strict=False), 1):
            if number <= counts[0] and (source.strip() or target.strip()):
                lines.append(number)
                yield Record(source=source, target=target)

    items = stored_like(sides[0], records())
    return replace(Records(items, f"{paths[0]} and {paths[1]}", form="two files of lines"), lines=lines)
