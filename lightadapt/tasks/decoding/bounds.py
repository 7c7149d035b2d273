"""The values that options of generation may have, for calls and for requests to a server."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightadapt.errors import LightAdaptError, shown
from lightadapt.numbers import is_number, is_whole


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The finite numbers from `least`, or above `above`, to `most`; only whole ones where `whole`.

    >>> 1 in Bounds(above=0, most=1), 0 in Bounds(above=0, most=1), str(Bounds(above=0, most=1))
    (True, False, 'a number above 0, at most 1')
    """

    least: float = -math.inf
    above: float = -math.inf
    most: float = math.inf
    whole: bool = False

    def __contains__(self, value: Any) -> bool:
        fits = is_whole(value) if self.whole else is_number(value) and math.isfinite(value)
        return bool(fits) and self.least <= value <= self.most and value > self.above

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        if self.above > -math.inf:
            return f"{kind} above {self.above:g}" + (f", at most {self.most:g}" if self.most < math.inf else "")
        if self.least > -math.inf:
            end = f"from {self.least:g} to {self.most:g}" if self.most < math.inf else f"of at least {self.least:g}"
            return f"{kind} {end}"
        return f"{kind} that is finite"


BOUNDS = {
    "temperature": Bounds(above=0),
    "top_p": Bounds(above=0, most=1),
    "top_k": Bounds(least=0, whole=True),
    "min_p": Bounds(least=0, most=1),
    "typical_p": Bounds(above=0, most=1),
    "epsilon_cutoff": Bounds(least=0, most=1),
    "eta_cutoff": Bounds(least=0, most=1),
    "repetition_penalty": Bounds(above=0),
    "length_penalty": Bounds(),
    "no_repeat_ngram_size": Bounds(least=0, whole=True),
    "min_new_tokens": Bounds(least=0, whole=True),
    "min_length": Bounds(least=0, whole=True),
}
"""By the names of transformers' GenerationConfig."""


def as_transformers_takes(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with a float wherever not only whole numbers can be, for transformers refuses a temperature of 2.

    >>> as_transformers_takes({"temperature": 2, "top_k": 2})
    {'temperature': 2.0, 'top_k': 2}
    """
    fractions = [name for name, bounds in BOUNDS.items() if not bounds.whole and is_number(options.get(name))]
    return {**options, **{name: float(options[name]) for name in fractions}}


def check_bounds(options: Mapping[str, Any]) -> None:
    """Raise for an option that is out of its bounds; None is what it is by default.

    Raises:
        LightAdaptError: naming it.

    >>> check_bounds({"top_p": 0.9, "top_k": None})
    """
    for name, bounds in BOUNDS.items():
        value = options.get(name)
        if value is not None and value not in bounds:
            raise LightAdaptError(f"{name}={shown(value)}: give {bounds}.")
    sampled = options.get("do_sample")
    if sampled is not None and not isinstance(sampled, bool):
        raise LightAdaptError(f"do_sample={shown(sampled)}: give true or false.")
