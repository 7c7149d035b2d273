"""What two models differ by on the same records, as people read it."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log10

from lightadapt.evaluation.intervals import NO_SHARES
from lightadapt.metrics import OF_HUNDRED


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What `compare_models` finds; it prints as a sentence."""

    metric: str
    """What is compared."""
    difference: float
    """The metric of b less that of a."""
    low: float
    """The lower end of the interval of the difference."""
    high: float
    """The upper end."""
    p: float
    """How often chance alone would make a difference of this size, or a larger one."""
    n: int
    """Records."""
    better: str | None
    """`"a"` or `"b"`; None where no difference can be told: p is not below 1 - confidence, or the interval holds 0."""
    a: float
    """The metric of a."""
    b: float
    """The metric of b."""
    confidence: float
    """Of the interval."""
    test: str
    """How p was found: `exact McNemar`, or `paired permutation`."""
    on: str
    """The records, in words."""
    names: tuple[str, str] = ("a", "b")
    """What a and b are called in the sentence."""

    def __str__(self) -> str:
        factor, unit = _unit(self.metric, max(abs(self.a), abs(self.b)))
        half = factor * (self.high - self.low) / 2
        digits = min(4, max(0, 1 - floor(log10(half)))) if half > 1e-9 else 1
        size, low, high = (f"{factor * each:.{digits}f}" for each in (self.difference, self.low, self.high))
        chance = "p < 0.0001" if self.p < 10**-4 else f"p = {self.p:.2g}"
        facts = f"({self.metric}, {self.on}; {chance})"
        if self.better is None:
            reach = f", and may be from {low} to {high}" if half > 1e-9 else ""
            return f"No difference can be told: {self.names[1]} less {self.names[0]} is {size}{unit}{reach} {facts}."
        winner = self.names[self.better == "b"]
        return f"{winner} is better by {size.lstrip('-')} ± {half:.{digits}f}{unit} {facts}."

    __repr__ = __str__


def _unit(metric: str, value: float) -> tuple[float, str]:
    """By what a difference is multiplied, and in what it is then."""
    if metric in OF_HUNDRED:
        return 1.0, " points"
    return (1.0, "") if metric in NO_SHARES or value > 1 else (100.0, " points")
