"""The options of generation that a request may give: those that cannot make one request as dear as a thousand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightadapt.errors import LightAdaptError, listed, nearest, shown
from lightadapt.numbers import is_number, is_whole

ALLOWED = (
    "max_new_tokens",
    "min_new_tokens",
    "num_beams",
    "do_sample",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "stop_strings",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "length_penalty",
)
NUMBERS = ("temperature", "top_p", "min_p", "repetition_penalty", "length_penalty")
WHOLE = ("top_k", "no_repeat_ngram_size")
MOST_BEAMS = 8
MOST_STOPS = 4
LONGEST_STOP = 100
"""Characters of a stop string."""


def check_options(options: Mapping[str, Any], most: int) -> dict[str, Any]:
    """The options of a request, of which each is allowed.

    Args:
        most: the most tokens that may be generated.

    Raises:
        LightAdaptError: one is not, or asks for too much.

    >>> check_options({"max_new_tokens": 20}, most=100)
    {'max_new_tokens': 20}
    """
    for name in options:
        if name not in ALLOWED:
            raise LightAdaptError(
                f"options holds {shown(name)}, which a request cannot set. {nearest(name, ALLOWED)}"
                f"It can set: {listed(ALLOWED)}."
            )
    for name, limit in (("max_new_tokens", most), ("min_new_tokens", most), ("num_beams", MOST_BEAMS)):
        value = options.get(name, 1)
        if not is_whole(value) or not 0 < value <= limit:
            raise LightAdaptError(f"{name}={shown(value)}: give a whole number from 1 to {limit:,}.")
    _check_kinds(options)
    stops = options.get("stop_strings", [])
    stops = [stops] if isinstance(stops, str) else stops
    fits = isinstance(stops, list) and all(isinstance(stop, str) and 0 < len(stop) <= LONGEST_STOP for stop in stops)
    if not fits or len(stops) > MOST_STOPS:
        raise LightAdaptError(
            f"stop_strings={shown(stops)}: give at most {MOST_STOPS} texts of up to {LONGEST_STOP} characters each."
        )
    return dict(options)


def _check_kinds(options: Mapping[str, Any]) -> None:
    """Raise for an option of another kind; True would count as 1 in one place, and be an error in another."""
    for names, fits, wanted in (
        (NUMBERS, is_number, "a number"),
        (WHOLE, is_whole, "a whole number"),
        (("do_sample",), lambda value: isinstance(value, bool), "true or false"),
    ):
        for name in names:
            value = options.get(name)
            if value is not None and not fits(value):
                raise LightAdaptError(f"{name}={shown(value)}: give {wanted}.")
