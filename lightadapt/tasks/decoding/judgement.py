"""What is wrong with a prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Judgement(NamedTuple):
    """A prediction that is not right."""

    predicted: Any
    """As `predict` gives it."""
    expected: Any = None
    """None: what the record has in its fields for answers."""
    confidence: float | None = None
    """The probability of what is wrong; None where there is none."""
    rank: tuple[float, ...] = ()
    """How wrong it is, in comparison with others: the highest come first. Empty: by `confidence`."""
    measures: Mapping[str, float] = {}
    """What else tells how wrong it is, by name, such as `f1`."""

    @property
    def order(self) -> tuple[float, ...]:
        """What to sort by."""
        return self.rank or (self.confidence or 0.0,)
