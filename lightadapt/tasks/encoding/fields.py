"""The fields of records, checked; an error names the record, the field and the remedy."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from lightadapt.data import Record, Records
from lightadapt.data.formats import nearest_form
from lightadapt.data.formats.guessing import columns_for
from lightadapt.errors import DataError, listed, nearest, shown
from lightadapt.numbers import is_number


def optional_text(records: Records, index: int, name: str) -> str | None:
    """The text in a field of a record; None when the field is absent."""
    return None if records.items[index].get(name) is None else text_field(records, index, name)


def text_field(records: Records, index: int, name: str) -> str:
    """The text in a field of a record.

    Raises:
        DataError: the field is missing, is no text, or is empty.
    """
    value = required(records, index, name)
    if not isinstance(value, str):
        raise DataError(
            f"{records.place(index)}: {name} is {shown(value)} ({type(value).__name__}), but a text is expected. "
            "Convert it with str(), or choose the right column with columns={…}."
        )
    if not value.strip():
        raise DataError(f"{records.place(index)}: {name} is empty. Remove the record or fill in its text.")
    check_characters(records.place(index), name, value)
    return value


def number_field(records: Records, index: int, name: str, *, least: float = -math.inf, most: float = math.inf) -> float:
    """The finite number in a field of a record, which may be written as a text, as files do.

    Raises:
        DataError: the field is missing, is not a number, or is not from `least` to `most`.
    """
    value, place = plain(required(records, index, name)), records.place(index)
    try:
        # Python's own digits with underscores are a name or a code in a file.
        written = isinstance(value, str) and "_" not in value
        number = float(value) if is_number(value) or written or isinstance(value, Decimal) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{place}: {name} is {shown(value)}, but a number is needed. Correct it, or remove the record.")
    if not least <= number <= most:
        raise DataError(f"{place}: {name} is {shown(value)}. Give a number from {least:g} to {most:g}.")
    return number


def check_characters(place: str, name: str, text: str) -> None:
    """Raise for half a surrogate pair, which JSON of cut texts holds and no tokenizer takes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: {name} holds half a character at {error.start} ({shown(text[error.start])}). Repair the text, "
            "for example with text.encode('utf-8', 'ignore').decode()."
        ) from error


def plain(value: Any) -> Any:
    """The number or text of a NumPy scalar, or of an array or tensor of one value; anything else as it is."""
    is_scalar = getattr(value, "shape", None) == () and callable(getattr(value, "item", None))
    return value.item() if is_scalar else value


def as_list(place: str, name: str, value: Any) -> list[Any]:
    """The items of a field that is a list, or an array or tensor, as plain values.

    Raises:
        DataError: it is none.
    """
    if isinstance(value, (list, tuple)):
        return list(value)
    if callable(getattr(value, "tolist", None)) and bool(getattr(value, "ndim", 0)):
        return list(value.tolist())
    hint = " Give a list; a .csv holds none, so use .jsonl for it." if isinstance(value, str) else ""
    raise DataError(f"{place}: {name} is {shown(value)} ({type(value).__name__}), not a list.{hint}")


def rename(records: Records, item: Record, name: str) -> str:
    """How to tell which column of a record a missing field is, and of which known form the record nearly is."""
    columns = columns_for(name, records.needed or (), item)
    written = shown(columns, 200) if columns else f"{{{name!r}: '…'}}"
    return f"{nearest_form(list(item))}Rename it, or pass columns={written}."


def required(records: Records, index: int, name: str) -> Any:
    """The value of a field of a record.

    Raises:
        DataError: the field is missing or empty (None), naming the fields that are there.
    """
    item: Record = records.items[index]
    value = item.get(name)
    if value is None:
        if name in item:
            raise DataError(f"{records.place(index)}: {name} is empty. Remove the record or fill it in.")
        close = nearest(name, item, 0.75)  # another field's name is worse than none
        hint = f" {close}{rename(records, item, name)}" if item else " It is an empty dict."
        raise DataError(f"{records.place(index)}: the field {name!r} is missing. Fields there: {listed(item)}.{hint}")
    return value
