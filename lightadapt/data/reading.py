"""Records in: every accepted form of data becomes one `Records`, which can name the place of each record."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lightadapt.data.conll import TAG
from lightadapt.data.files import CONLL_SUFFIXES, TABLE_SUFFIXES, read_file
from lightadapt.data.records import Record, Records
from lightadapt.data.skipping import BadRecords
from lightadapt.data.stored import stored_like
from lightadapt.data.tables import is_table, read_rows
from lightadapt.errors import DataError, listed, nearest, shown, unquoted
from lightadapt.machine.hub import may_be_on_hub

if TYPE_CHECKING:
    import datasets
    import pandas

__all__ = ["CONLL_SUFFIXES", "TABLE_SUFFIXES", "TAG", "Data", "Record", "Records", "is_collection", "read"]

Data: TypeAlias = (
    "str | Path | Sequence[Mapping[str, Any]] | datasets.Dataset | datasets.IterableDataset | pandas.DataFrame"
)
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
)
"""Those of files that hold data as well, but are not read: no id on the hub ends so."""


def read(
    source: Data | Records,
    *,
    split: str = "train",
    columns: Mapping[str, str] | None = None,
    bad: BadRecords | None = None,
) -> Records:
    """All records of any accepted form, as plain dicts.

    Args:
        source: a list of dicts, a `datasets.Dataset` or `IterableDataset` in any format, a torch data set of dicts, a
            frame (of pandas, or one that Arrow or the dataframe interchange protocol can read, as polars), a path
            (`.jsonl .json .csv .tsv .parquet`, or `.conll .bio .txt` with one token and its tag a line), a hub data-set
            id, with the split behind a colon when it is not `split` (`"ag_news:test"`), or records read before.
        split: the split read of a hub data set when its id names none.
        columns: `{field: column}` for fields that have another name in the data.
        bad: takes what is no record, or a broken line of a file; None: they are refused.

    Raises:
        DataError: nothing to read, an unknown kind of file, a file that is not UTF-8, a broken line, or a
            column that is not there.
    """
    bad = bad or BadRecords()
    records = _read(source, split, bad)
    if not len(records) and not bad.count:
        raise DataError(f"{records.source} holds no records. Give at least one.")
    records = _only_dicts(records, bad)
    return _rename(records, columns) if columns and len(records) else records


def _only_dicts(records: Records, bad: BadRecords) -> Records:
    """The records that are dicts, which an item of a list or a line of a file need not be, with their fields."""
    wrong: set[int] = set()
    fields: dict[Any, None] = {}
    for index, item in enumerate(records):
        if isinstance(item, Mapping):
            fields.update(dict.fromkeys(item))
        else:
            error = DataError(
                f"{records.place(index)} is a {type(item).__name__}, not a dict. A record is a dict of fields."
            )
            bad.meet(records.number(index), error)
            wrong.add(index)
    records = replace(records, fields=tuple(fields))
    return records.only([index for index in range(len(records)) if index not in wrong]) if wrong else records


def is_collection(source: Any) -> bool:
    """Whether the source is a plain collection of items (list, generator, Series, array), not a file or a table."""
    return isinstance(source, Iterable) and not isinstance(source, (str, bytes, Path, Mapping)) and not is_table(source)


def _read(source: Any, split: str, bad: BadRecords) -> Records:
    if isinstance(source, Records):
        return source
    if isinstance(source, (str, Path)):
        return _read_named(source, split, bad)
    if is_table(source):
        return Records(read_rows(source))
    if isinstance(source, Mapping):
        raise DataError(
            f"Data is a dict with the keys {', '.join(map(shown, itertools.islice(source, 5)))}. "
            "Give a list of records (dicts), one per example."
        )
    if is_collection(source):
        return Records(list(source))
    if hasattr(source, "__getitem__") and hasattr(source, "__len__") and not isinstance(source, bytes):
        return Records([source[index] for index in range(len(source))])  # as torch's data sets are read
    raise DataError(
        f"Data is a {type(source).__name__}. Accepted: a list of dicts, a datasets.Dataset, a frame (of pandas, "
        "polars, Arrow, …), a path, or a hub data-set id."
    )


def _read_named(source: str | Path, split: str, bad: BadRecords) -> Records:
    path = Path(source)
    suffix = path.suffix.lower()
    known = TABLE_SUFFIXES + CONLL_SUFFIXES
    try:
        is_folder, is_file, there = path.is_dir(), path.is_file(), path.exists()
    except (OSError, ValueError) as error:  # too long for a name, or with a NUL in it
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{shown(str(source))} is no file name ({reason}). Texts go into a list.") from error
    if is_folder:
        raise DataError(f"{path} is a folder. Give one file of it, such as {path / 'train.jsonl'}.")
    if is_file:
        if suffix not in known:
            raise DataError(
                f"Unknown file type {shown(suffix)} of {path}. {nearest(suffix, known)}Known: {' '.join(known)}"
            )
        return read_file(path, suffix, bad)
    if there:
        raise DataError(f"{path} is no regular file. Give a file, or read it yourself and give a list of dicts.")
    if suffix in known or isinstance(source, Path) or _means_a_file(source):
        hint = "" if suffix in known else f" {nearest(suffix, known)}Known file types: {' '.join(known)}"
        raise DataError(f"File {unquoted(str(path), 200)} does not exist (looked from {Path.cwd()}).{hint}")
    return _read_hub(source, split)


def _means_a_file(name: str) -> bool:
    """Whether a name of nothing that is here is that of a file, so that the hub must not be asked for it.

    An id on the hub is a name or `owner/name`, with a dot in it only where it has an owner.
    """
    identifier = name.partition(":")[0]
    suffix = Path(identifier).suffix.lower()
    if "\\" in name or (suffix and "/" not in identifier) or not may_be_on_hub(identifier):
        return True
    return suffix in FOREIGN_SUFFIXES or bool(nearest(suffix, TABLE_SUFFIXES + CONLL_SUFFIXES))


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
    return Records(read_rows(data), name)


def _rename(records: Records, columns: Mapping[str, str]) -> Records:
    present = records.fields or ()
    for field, column in columns.items():
        if column not in present:
            turned = (
                f" Or is it the wrong way round? Write {{field: column}}: columns={{{shown(column)}: {shown(field)}}}."
            )
            raise DataError(
                f"columns={{{shown(field)}: {shown(column)}}}: there is no column {shown(column)} in {records.source}. "
                f"{nearest(column, present)}Columns: {listed(present)}.{turned if field in present else ''}"
            )
    renamed = {column: field for field, column in columns.items()}
    items = (
        {renamed.get(key, key): value for key, value in item.items() if key in renamed or key not in columns}
        for item in records
    )
    fields = tuple(renamed.get(key, key) for key in present if key in renamed or key not in columns)
    return replace(records, items=stored_like(records.items, items), fields=fields)
