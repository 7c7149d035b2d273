"""The forms of records that other tools write, one file each, and what they become for a task."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from lightadapt.data.formats import brat
from lightadapt.data.formats.alpaca import Alpaca
from lightadapt.data.formats.doccano import Doccano
from lightadapt.data.formats.format import Format, Wanted
from lightadapt.data.formats.label_studio import LabelStudio
from lightadapt.data.formats.prodigy import Prodigy
from lightadapt.data.formats.sharegpt import ShareGPT
from lightadapt.data.formats.spacy import SpaCy
from lightadapt.data.formats.squad import SQuAD
from lightadapt.data.records import Record, Records
from lightadapt.data.skipping import BadRecords
from lightadapt.data.stored import stored_like
from lightadapt.errors import DataError, listed, shown, warn

__all__ = ["FORMATS", "Format", "Wanted", "convert", "nearest_form"]

FORMATS: tuple[Format, ...] = (LabelStudio(), Prodigy(), Doccano(), SpaCy(), ShareGPT(), Alpaca(), SQuAD())
"""In the order in which they are tried."""
COMMON = {"answer", "context", "data", "entities", "from", "id", "input", "label", "text", "tokens", "value"}
"""Fields that say nothing of a form."""
LOOKED_AT = 100
"""Records at the start of the data that show of which form it is."""


def convert(records: Records, wanted: Wanted, bad: BadRecords) -> tuple[Records, Mapping[str, str]]:
    """The records as the task has them, and the columns that are still to be renamed.

    A column that the records have as they come is renamed first, so that the caller can say what a field is.

    Args:
        bad: takes records that cannot be one of the task's.

    Raises:
        DataError: a record cannot be one of the task's, or is of another form than those before it.
    """
    head = list(islice(records, LOOKED_AT))
    early = {
        field: column
        for field, column in wanted.named.items()
        if any(isinstance(item, Mapping) and column in item for item in head)
    }
    form = form_of([_renamed(item, early) for item in head], wanted)
    if form is None:
        return records, wanted.named
    late = {field: column for field, column in wanted.named.items() if field not in early}
    return _converted(records, form, wanted._replace(named=late), early, bad), late


def form_of(items: Sequence[Any], wanted: Wanted) -> Format | None:
    """The form of the first of these records that is of any which the task has a use for."""
    useful = [form for form in FORMATS if form.gives & set(wanted.fields)]
    return next((form for item in items for form in useful if form.fits(item)), None)


def nearest_form(fields: Sequence[Any]) -> str:
    """The sentence that names the form with most of these fields, or nothing where none has any that tells."""
    telling = {field for field in fields if isinstance(field, str)} - COMMON
    count, form = max(((len(telling & set(form.signs)), form) for form in FORMATS), key=lambda each: each[0])
    return f"Of other tools' forms {form.name} is nearest, which has {listed(form.signs)}. " if count else ""


def _converted(records: Records, form: Format, wanted: Wanted, early: Mapping[str, str], bad: BadRecords) -> Records:
    places, notes = array("Q"), Counter[str]()

    def found() -> Iterator[Record]:
        for index, item in enumerate(records):
            try:
                made = _made(_renamed(item, early), form, wanted, notes)
            except DataError as error:
                bad.meet(records.number(index), DataError(f"{records.place(index)}: {error}"))
                continue
            places.extend([index] * len(made))
            yield from made

    items = stored_like(records.items, found())
    kind = f" ({records.form})" if records.form else ""
    name = brat.NAME if records.form == brat.NAME else f"{form.name}{form.told(wanted)}{kind}"
    named = replace(records, form=name)
    for note, count in notes.items():
        if count:
            warn(f"{count:,} of {len(records):,} records of {records.source} ({form.name}) {note}.")
    if len(set(places)) == len(places):
        kept = named if len(places) == len(records) else named.only(places)
        return replace(kept, items=items)
    bad.check_none()  # those that are made are counted, so none can be left out before
    if records.numbers is not None:
        raise DataError(
            f"{form.name} holds several records in one, which are counted together: give the file, or a list of those "
            "that are in it."
        )
    return replace(named.only(places), items=items, numbers=None, documents=places)


def _made(item: Any, form: Format, wanted: Wanted, notes: Counter[str]) -> list[Record]:
    if form.takes(item):
        return form.convert(item, wanted, notes)
    if form.mixes and isinstance(item, Mapping):
        return [dict(item)]
    other = form_of([item], wanted)
    found = f"it is of {other.name}" if other else f"it is {shown(item)}" if not isinstance(item, Mapping) else None
    raise DataError(
        f"the records before it are of {form.name}, but {found or f'this one has the fields {listed(item)}'}. Give one "
        "form at a time."
    )


def _renamed(item: Any, columns: Mapping[str, str]) -> Any:
    """A record with these columns under the names of their fields."""
    if not columns or not isinstance(item, Mapping):
        return item
    fields = {column: field for field, column in columns.items()}
    return {fields.get(key, key): value for key, value in item.items() if key in fields or key not in columns}
