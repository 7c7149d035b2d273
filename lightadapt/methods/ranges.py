"""What values a search may try of a setting."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from lightadapt.errors import LightAdaptError, shown
from lightadapt.numbers import is_number, is_whole


@dataclass(frozen=True, init=False)
class Choice:
    """One of these values.

    >>> Choice("all-linear", "attention").values
    ('all-linear', 'attention')
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        object.__setattr__(self, "values", values)

    def __contains__(self, value: Any) -> bool:
        return value in self.values

    @property
    def ends(self) -> Sequence[Any]:
        """Values that are all right when the whole range is."""
        return self.values


@dataclass(frozen=True)
class Span:
    """A number from `low` to `high`, both among them.

    >>> 1e-3 in Span(1e-4, 1e-2, log=True)
    True
    """

    low: float
    high: float
    log: bool = False
    """Whether each factor, rather than each distance, is equally likely."""
    whole: bool = False
    """Whether it is a whole number."""

    def __contains__(self, value: Any) -> bool:
        return is_number(value) and self.low <= value <= self.high and (not self.whole or is_whole(value))

    @property
    def ends(self) -> Sequence[Any]:
        """Values that are all right when the whole range is."""
        return self.low, self.high


Range: TypeAlias = Choice | Span


def read_range(name: str, given: Any) -> Range:
    """The range that a user writes: a list of choices, `(low, high)` or `(low, high, "log")`.

    >>> read_range("learning_rate", (1e-4, 1e-2, "log"))
    Span(low=0.0001, high=0.01, log=True, whole=False)

    Raises:
        LightAdaptError: it is none, or nothing is in it.
    """
    if isinstance(given, (Choice, Span)):
        return given
    if isinstance(given, list):
        return _read_choices(name, given)
    if not isinstance(given, tuple):
        raise LightAdaptError(
            f"search[{name!r}]={shown(given)}: give a list of choices such as [4, 8], or (low, high), or (low, high, "
            "'log')."
        )
    if len(given) not in (2, 3) or (len(given) == 3 and given[2] != "log"):
        raise LightAdaptError(f"search[{name!r}]={shown(given)}: a range is (low, high) or (low, high, 'log').")
    low, high, log = given[0], given[1], len(given) == 3
    for value in (low, high):
        if not is_number(value) or not math.isfinite(value):
            raise LightAdaptError(
                f"search[{name!r}]={shown(given)}: {shown(value)} is no finite number. For choices give a list: "
                f"{shown(list(given))}."
            )
    if not low < high:
        raise LightAdaptError(f"search[{name!r}]={shown(given)} is empty: the low end must be below the high end.")
    if log and low <= 0:
        raise LightAdaptError(f"search[{name!r}]={shown(given)}: with 'log', the low end must be above 0.")
    whole = is_whole(low) and is_whole(high)
    return Span(int(low), int(high), log, True) if whole else Span(float(low), float(high), log)


def written(text: str) -> Any:
    """The range that prints so, as a user writes it; the text itself where it is none that can be read.

    >>> written("Choice(values=(4, 8))"), written(str(Span(1e-4, 1e-2, log=True)))
    ([4, 8], (0.0001, 0.01, 'log'))
    """
    try:
        call: Any = ast.parse(text, mode="eval").body
        given = {each.arg: ast.literal_eval(each.value) for each in call.keywords}
        return list(given["values"]) if "values" in given else (given["low"], given["high"], *["log"] * given["log"])
    except (AttributeError, KeyError, SyntaxError, TypeError, ValueError):
        return text


def _read_choices(name: str, given: list[Any]) -> Choice:
    if not given:
        raise LightAdaptError(f"search[{name!r}]=[] is empty. Give at least one value.")
    for value in given:
        try:
            json.dumps(value)
        except TypeError as error:
            raise LightAdaptError(
                f"search[{name!r}] holds {shown(value)}, which cannot be kept ({error}). Give numbers, texts, lists or "
                "None."
            ) from error
    return Choice(*(value for number, value in enumerate(given) if value not in given[:number]))
