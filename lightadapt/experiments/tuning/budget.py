"""How long a search may take."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from typing import Any

from lightadapt.errors import LightAdaptError, shown
from lightadapt.numbers import is_number

UNITS = {"h": 3600.0, "min": 60.0, "m": 60.0, "s": 1.0}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(h|min|m|s)\s*")
OVER = 0.03
"""The share of the budget by which a trial may be late before its process is ended."""


def read_budget(budget: Any) -> float | None:
    """The seconds of a budget: a number of them, or a text such as `"30min"`, `"2h"` or `"1h30min"`.

    >>> read_budget("1h30min"), read_budget("90s"), read_budget(12)
    (5400.0, 90.0, 12.0)

    Raises:
        LightAdaptError: it is none of these, or not above 0.
    """
    if budget is None:
        return None
    seconds = float(budget) if is_number(budget) else _read_text(budget) if isinstance(budget, str) else math.nan
    if not 0 < seconds < math.inf:
        raise LightAdaptError(f"budget={shown(budget)}: give a time such as '30min', '2h' or '90s', or seconds.")
    return seconds


def _read_text(text: str) -> float:
    found = [*_PART.finditer(text.lower())]
    if not found or "".join(each[0] for each in found) != text.lower():
        return math.nan
    return sum(float(each[1]) * UNITS[each[2]] for each in found)


def as_time(seconds: float) -> str:
    """Seconds as people say them.

    >>> as_time(42.3), as_time(754), as_time(5400)
    ('42 s', '12.6 min', '1.5 h')
    """
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.3g} min" if seconds < 3600 else f"{seconds / 3600:.3g} h"


@dataclass(frozen=True)
class Clock:
    """The time of one call: when it began, and when it has to end."""

    start: float
    budget: float | None
    """Seconds of the whole search; None: it may take as long as it does."""
    spent: float = 0.0
    """Seconds that earlier calls for the same search took."""

    @property
    def deadline(self) -> float | None:
        """When the search has to end, in seconds since 1970, which other processes can read; None: never."""
        return None if self.budget is None else self.start + self.budget - self.spent

    @property
    def left(self) -> float:
        """Seconds until the end."""
        return math.inf if self.deadline is None else self.deadline - time.time()

    @property
    def patience(self) -> float | None:
        """Seconds after which a process that does not end by itself is ended; None: never."""
        return None if self.budget is None else max(1.0, self.left + OVER * self.budget)

    @property
    def passed(self) -> float:
        """Seconds since the search began, those of earlier calls among them."""
        return self.spent + time.time() - self.start
