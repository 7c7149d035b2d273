"""The options of generation that a request may give: those that cannot make one request as dear as a thousand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightadapt.errors import LightAdaptError, listed, nearest, shown
from lightadapt.numbers import is_whole
from lightadapt.tasks.decoding.bounds import check_bounds

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
    check_bounds(options)
    stops = options.get("stop_strings", [])
    stops = [stops] if isinstance(stops, str) else stops
    fits = isinstance(stops, list) and all(isinstance(stop, str) and 0 < len(stop) <= LONGEST_STOP for stop in stops)
    if not fits or len(stops) > MOST_STOPS:
        raise LightAdaptError(
            f"stop_strings={shown(stops)}: give at most {MOST_STOPS} texts of up to {LONGEST_STOP} characters each."
        )
    return dict(options)
