"""Numbers that a caller gives, checked; an error says what is wanted, and what was given."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from lightadapt.errors import LightAdaptError


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
