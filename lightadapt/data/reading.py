"""Records in: every accepted form of data becomes one `Records`, which can name the place of each record."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lightadapt.data.conll import CONLL
from lightadapt.data.formats import Wanted, convert
from lightadapt.data.named import are_parallel, names_data, read_named, read_parallel, read_several
from lightadapt.data.records import UNNAMED, Called, Record, Records
from lightadapt.data.skipping import BadRecords
from lightadapt.data.stored import stored_like
from lightadapt.data.tables import is_table, read_rows
from lightadapt.errors import DataError, listed, nearest, shown

if TYPE_CHECKING:
    import datasets
    import pandas

__all__ = ["UNNAMED", "Called", "Data", "Record", "Records", "Wanted", "is_collection", "names_data", "read"]

Data: TypeAlias = (
    "str | Path | Sequence[str | Path] | Sequence[Mapping[str, Any]] | datasets.Dataset | datasets.IterableDataset | "
    "datasets.DatasetDict | pandas.DataFrame | Called"
)


def read(
    source: Data | Records,
    *,
    split: str = "train",
    columns: Mapping[str, Any] | None = None,
    wanted: Wanted | None = None,
    bad: BadRecords | None = None,
) -> Records:
    """All records of any accepted form, as plain dicts.

    Args:
        source: a list of dicts, a `datasets.Dataset` or `IterableDataset` in any format, a torch data set of dicts, a
            frame (of pandas, or one that Arrow or the dataframe interchange protocol can read, as polars), a path
            (`.jsonl .json .csv .tsv .parquet`, all but the last also packed as `.gz` or `.zst`; `.conll .bio .txt` with
            one token and its tag a line; brat's `.ann`, spaCy's `.spacy`), several paths, or a pattern such as
            `data/*.jsonl`, a pair of files of lines for a translation, a `datasets.DatasetDict` or a hub data-set id,
            with the split behind a colon when it is not `split` (`"ag_news:test"`), or records read before; or any of
            these, `Called` by a name.
        split: what the data is for: the split read of a data set with several, when its id names none.
        columns: `{field: column}` for fields that have another name in the data.
        wanted: what a task needs, into which the forms of other tools are turned; None: they stay as they are.
        bad: takes what is no record, or a broken line of a file; None: they are refused.

    Raises:
        DataError: nothing to read, an unknown kind of file, a file that is not UTF-8, a broken line, or a
            column that is not there.
    """
    bad = bad or BadRecords()
    columns = columns or {}
    records = _read(source, split, columns, None if wanted is None else wanted.fields, bad)
    if (records.form or "").startswith(CONLL):  # which has been told where these are
        columns = {field: column for field, column in columns.items() if field not in ("tokens", "tags")}
    if wanted is not None and not wanted.labelled:
        columns = {field: column for field, column in columns.items() if field not in wanted.answers}
    if not len(records) and not bad.count:
        raise DataError(f"{records.source} holds no records. Give at least one.")
    if wanted is not None and len(records):
        before = bad.count
        records, columns = convert(records, wanted._replace(named=columns), bad)
        if not len(records) and bad.count == before:
            raise DataError(f"{records.source} ({records.form}) holds no records to read. Give at least one.")
    records = _only_dicts(records, wanted, bad)
    return _rename(records, columns) if columns and len(records) else records


def _only_dicts(records: Records, wanted: Wanted | None, bad: BadRecords) -> Records:
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
    records = replace(records, fields=tuple(fields), needed=None if wanted is None else tuple(wanted.fields))
    return records.only([index for index in range(len(records)) if index not in wrong]) if wrong else records


def is_collection(source: Any) -> bool:
    """Whether the source is a plain collection of items (list, generator, Series, array), not a file or a table."""
    return isinstance(source, Iterable) and not isinstance(source, (str, bytes, Path, Mapping)) and not is_table(source)


def _read(
    source: Any,
    split: str,
    columns: Mapping[str, Any],
    fields: Sequence[str] | None,
    bad: BadRecords,
    called: str = UNNAMED,
) -> Records:
    if isinstance(source, Called):
        records = _read(source.data, split, columns, fields, bad, source.name)
        return replace(records, source=source.name) if records.source == UNNAMED else records
    if isinstance(source, Records):
        return source
    if isinstance(source, (str, Path)):
        return read_named(source, split, columns, bad)
    if isinstance(source, (list, tuple)) and source and all(isinstance(each, (str, Path)) for each in source):
        if are_parallel(source, fields):
            return read_parallel((source[0], source[1]))
        if all(map(names_data, source)):
            return read_several(source, columns, bad)
    if is_table(source):
        return Records(read_rows(source, split))
    if isinstance(source, Mapping):
        raise DataError(
            f"{called.capitalize()} is a dict with the keys {', '.join(map(shown, itertools.islice(source, 5)))}. "
            "Give a list of records (dicts), one per example."
        )
    if is_collection(source):
        return Records(list(source))
    if hasattr(source, "__getitem__") and hasattr(source, "__len__") and not isinstance(source, bytes):
        return Records([source[index] for index in range(len(source))])  # as torch's data sets are read
    raise DataError(
        f"{called.capitalize()} is a {type(source).__name__}. Accepted: a list of dicts, a datasets.Dataset, a "
        "frame (of pandas, polars, Arrow, …), a path, or a hub data-set id."
    )


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
