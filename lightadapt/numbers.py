"""Plain values that a caller gives, checked; an error says what is wanted, and what was given."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from lightadapt.errors import LightAdaptError, shown


def check_flags(*, owner: str = "", **values: Any) -> None:
    """Raise for a field that is neither True nor False; any other value would count as True.

    Args:
        owner: as in `check_whole`.

    Raises:
        LightAdaptError: naming the field.
    """
    for field, value in values.items():
        if not isinstance(value, bool):
            given = f"{field}={shown(value)}"
            raise LightAdaptError(f"{f'{owner}({given})' if owner else given}: write True or False.")


def check_function(field: str, value: Any) -> None:
    """Raise unless a field is a function, or whatever else can be called, or None."""
    if value is not None and not callable(value):
        raise LightAdaptError(f"{field}={shown(value)} cannot be called. Give a function, or None.")


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, of Python or numpy; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a number, of Python or numpy; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def wrong_number(field: str, value: Any, wanted: str, *, owner: str = "") -> LightAdaptError:
    """The error for a field that is not the number it should be.

    >>> print(wrong_number("rank", 0, "a whole number of at least 1", owner="LoRA"))
    LoRA(rank=0): give a whole number of at least 1.
    """
    given = f"{owner}({field}={value!r})" if owner else f"{field}={value!r}"
    return LightAdaptError(f"{given}: give {wanted}.")


def check_whole(
    field: str, value: Any, *, owner: str = "", least: int = 1, most: float = math.inf, wanted: str = ""
) -> None:
    """Raise unless a field is a whole number from `least` to `most`.

    Settings are kept as JSON, so whole numbers of numpy do not count here.

    Args:
        owner: what has the field, where the error should name it.
        wanted: what the error asks for; by default it names the limits.
    """
    if type(value) is not int or not least <= value <= most:
        limits = f"of at least {least}" if most == math.inf else f"from {least} to {most:,}"
        raise wrong_number(field, value, wanted or f"a whole number {limits}", owner=owner)


def check_number(
    field: str, value: Any, *, owner: str = "", least: float, below: float = math.inf, wanted: str = ""
) -> None:
    """Raise unless a field is a finite number from `least` to below `below`; the rest is as in `check_whole`."""
    if not (is_number(value) and least <= value < below):
        limits = f"of at least {least}" if below == math.inf else f"from {least} to below {below}"
        raise wrong_number(field, value, wanted or f"a number {limits}", owner=owner)


def check_positive(field: str, value: Any, *, owner: str = "", below: float = math.inf, wanted: str = "") -> None:
    """Raise unless a field is a finite number above 0 and below `below`; the rest is as in `check_whole`."""
    if not (is_number(value) and 0 < value < below):
        limits = "above 0" if below == math.inf else f"above 0 and below {below}"
        raise wrong_number(field, value, wanted or f"a number {limits}", owner=owner)
