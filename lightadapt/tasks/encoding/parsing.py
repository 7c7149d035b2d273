"""Records become checked examples: which columns are a task's fields, and which records it can use."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from lightadapt.data import Called, Data, Records, Wanted, read
from lightadapt.data.formats.guessing import columns_for
from lightadapt.data.skipping import BadRecords, usable
from lightadapt.data.stored import stored_like
from lightadapt.errors import DataError, LightAdaptError, listed, nearest, shown
from lightadapt.numbers import is_whole

if TYPE_CHECKING:
    from lightadapt.tasks.task import Task

LOG = logging.getLogger("lightadapt")


def read_records(
    task: Task,
    source: Data | Records,
    *,
    split: str,
    columns: Mapping[str, str | int],
    labelled: bool,
    bad: BadRecords | None,
) -> Records:
    """The records of any form of data, under the names of the task's fields; see `Task.read`.

    The logger `lightadapt` is told what was read.

    Raises:
        DataError: the data cannot be read, or `columns` is not `{field: column}` for fields of the task.
    """
    _check_renaming(task, columns)
    wanted = Wanted(task.fields, labelled, task.answer_fields, task.numeric)
    records = read(source, split=split, columns=columns, wanted=wanted, bad=bad)
    if not isinstance(source, Records):
        LOG.info("%s", records.described(task.name))
    return records


def _check_renaming(task: Task, columns: Mapping[str, str | int]) -> None:
    """Raise unless this is `{field: column}`, for fields of the task."""
    if not isinstance(columns, Mapping) or not all(
        isinstance(column, str) or is_whole(column) for column in columns.values()
    ):
        raise DataError(f"columns={shown(columns)}: write {{field: column}}, such as {{'text': 'sentence'}}.")
    unknown = [name for name in columns if name not in task.fields]
    if unknown:
        turned = dict((column, name) if name in unknown else (name, column) for name, column in columns.items())
        other = f"Is it the wrong way round? Write {{field: column}}: columns={shown(turned, 200)}. "
        raise DataError(
            f"columns names the field {unknown[0]!r}, which task {task.name!r} does not have. "
            f"{nearest(unknown[0], task.fields)}{other if columns[unknown[0]] in task.fields else ''}"
            f"Fields: {', '.join(task.fields)}"
        )


def read_examples(
    task: Task, source: Data, *, split: str, columns: Mapping[str, str | int] | None, bad: BadRecords
) -> tuple[Sequence[Any], Records]:
    """The checked examples of labelled data, and the records behind them; see `Task.read_examples`."""
    called = Called(source, "validation data") if split == "validation" else source
    records = task.read(called, split=split, columns=columns, bad=bad)
    examples, records = usable(*task.parse_usable(records, bad), task.check_answers, bad)
    bad.check_rest(len(examples))
    return examples, records


def parse_usable(task: Task, records: Records, bad: BadRecords, *, labelled: bool) -> tuple[Sequence[Any], Records]:
    """The checked examples and the records they are of; see `Task.parse_usable`."""
    if not len(records):
        return [], records
    _check_spelling(task, records, task.known_fields(records, labelled=labelled))
    places = array("Q")

    def examples() -> Iterator[Any]:
        for index in range(len(records)):
            try:
                example = _parse_one(task, records, index, labelled=labelled)
            except DataError as error:
                bad.meet(records.number(index), error)
            else:
                places.append(index)
                yield example

    found = stored_like(records.items, examples())
    return found, records if len(places) == len(records) else records.only(places)


def _parse_one(task: Task, records: Records, index: int, *, labelled: bool) -> Any:
    """The checked example of one record, whatever its values raise when they are looked at."""
    try:
        return task.parse_record(records, index, labelled=labelled)
    except LightAdaptError:
        raise
    except Exception as error:  # values of any class, and tasks of others, raise what they like
        raise DataError(
            f"{records.place(index)} cannot be read as a record of task {task.name!r}: {type(error).__name__}: "
            f"{str(error)[:200]}. Fields there: {listed(records.items[index])}. Give texts, numbers and lists of them."
        ) from error


def _check_spelling(task: Task, records: Records, fields: Sequence[str]) -> None:
    """Refuse a misspelt optional field, which would otherwise be ignored in silence."""
    present = {key for item in records for key in item} if records.fields is None else set(records.fields)
    absent = [name for name in fields if name not in present]
    letters = frozenset("".join(absent))
    for key in sorted(key for key in present - set(task.fields) if isinstance(key, str) and len(key) <= 40):
        # Comparing takes long where there are many columns, and most have too few letters of any field.
        if sum(letter in letters for letter in key.lower()) < 0.6 * len(key):
            continue
        close = get_close_matches(key.lower(), absent, n=1, cutoff=0.8)
        if close:
            others = columns_for(close[0], fields, dict.fromkeys(sorted(map(str, present)), 0))
            columns = {**others, close[0]: key}
            raise DataError(
                f"Unknown column {shown(key)} in {records.source}. Did you mean {shown(close[0])}? "
                f"Rename it, or pass columns={shown(columns, 200)}. Fields: {', '.join(task.fields)}"
            )
