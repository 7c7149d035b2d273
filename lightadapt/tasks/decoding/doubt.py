"""How unsure a model is of a record, and between what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Doubt(NamedTuple):
    """How unsure a model is of a record."""

    value: float
    """From 0, sure, to 1."""
    reason: str
    """Between what, in a few words."""


def doubt_between(probabilities: Mapping[Any, float]) -> Doubt:
    """1 less the distance of the two highest probabilities (the margin of Scheffer, Decomain and Wrobel 2001).

    >>> doubt_between({"refund": 0.5, "delivery": 0.25, "invoice": 0.25})
    Doubt(value=0.75, reason='refund 0.50 or delivery 0.25')
    """
    first, second = sorted(probabilities, key=probabilities.__getitem__, reverse=True)[:2]
    value = 1 - (probabilities[first] - probabilities[second])
    return Doubt(value, f"{first} {probabilities[first]:.2f} or {second} {probabilities[second]:.2f}")
