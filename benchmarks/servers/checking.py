"""Whether an answer is that of the adapter that was asked."""

from __future__ import annotations

TOLERANCE = 0.05
"""How far probabilities may be from those of the record alone: a batch in bfloat16 rounds otherwise."""


def is_near(found: dict[str, float], expected: dict[str, float]) -> bool:
    """Whether these are the same labels with nearly the same probabilities."""
    return found.keys() == expected.keys() and all(
        abs(found[label] - probability) < TOLERANCE for label, probability in expected.items()
    )
