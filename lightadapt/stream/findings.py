"""What `Adapted.drift` returns: how texts differ from the training data, in numbers and in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lightadapt.evaluation.mistakes import brief

USUAL = 0.05
"""The part of texts like the training data that counts as unlike it, by definition."""
PRINTED = 5
"""Labels and texts that are printed."""


class ShareChange(NamedTuple):
    """A label that is predicted for another part of the texts than before."""

    label: str
    before: float
    """Its share then, from 0 to 1."""
    now: float
    """Its share now."""
    p_value: float
    """How likely a change like this is by chance, corrected for the number of labels."""


class NewText(NamedTuple):
    """A text that is unlike the training data."""

    number: int
    """Of the text among those that were given, from 0."""
    text: str
    distance: float
    """1 minus the mean cosine with the nearest texts of the training data."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How texts differ from the training data; it prints as sentences.

    >>> change = ShareChange("refund", before=0.12, now=0.25, p_value=0.001)
    >>> found = Drift(drifted=True, p_value=0.002, p_values={}, unlike=0.31, texts=100, shares=[change])
    >>> print(str(found).splitlines()[0])
    The texts have drifted (p = 0.002): 31 % of 100 are unlike the training data, where 5 % would be usual.
    """

    drifted: bool
    """Whether the difference is more than chance explains, at the level that was asked for."""
    p_value: float
    """How likely one as large is by chance, over both tests."""
    p_values: Mapping[str, float]
    """Of each test alone: `"new texts"`, and `"labels"` or, for a task without any, `"mixture"`."""
    unlike: float
    """The part of the texts that is unlike the training data, from 0 to 1; 0.05 is usual."""
    texts: int
    """How many texts were looked at."""
    shares: Sequence[ShareChange] = field(default=())
    """The labels whose shares have changed beyond chance, the clearest first."""
    examples: Sequence[NewText] = field(default=())
    """The texts that are most unlike the training data, the most unlike first; at most 20."""

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        parts = {name: [each._asdict() for each in getattr(self, name)] for name in ("shares", "examples")}
        return {**vars(self), "p_values": dict(self.p_values), **parts}

    def __str__(self) -> str:
        told = "The texts have drifted" if self.drifted else "No sign of drift"
        lines = [
            f"{told} (p = {self.p_value:.2g}): {self.unlike:.0%} of {self.texts:,} are unlike the training data, where "
            f"{USUAL:.0%} would be usual.".replace("%", " %")
        ]
        lines += [f"{_told(each)}".replace("%", " %") for each in self.shares[:PRINTED]]
        if not self.drifted:
            return "\n".join(lines)
        if self.p_values.get("mixture", 1) < self.p_values.get("new texts", 0):
            lines.append("There are more of some kind than before, and fewer of others.")
        if self.examples:
            lines += ["Most unlike:", *(f"  {each.number}: {brief(each.text)}" for each in self.examples[:PRINTED])]
        lines.append("What to do: label some of them (choose picks which), and learn them as well (extend).")
        return "\n".join(lines)

    __repr__ = __str__


def _told(change: ShareChange) -> str:
    """The change of a share as a sentence."""
    if not change.before:
        return f"{change.label!r} is predicted for {change.now:.0%}, and never was before."
    times = change.now / change.before
    way = f"{times:.1f} times as often as" if times >= 1 else "less often than"
    return f"{change.label!r} is predicted for {change.now:.0%}, {way} before, when it was {change.before:.0%}."
