"""Widths that batches are padded to: eight to each doubling, so that many batches have the same one."""

from __future__ import annotations

STEPS = 8
"""Widths from one power of two to the next."""


def next_width(length: int) -> int:
    """The narrowest that holds so many tokens.

    Up to 16 each number is one, up to 32 each second, up to 64 each fourth, and so on.

    >>> [next_width(length) for length in (9, 17, 33, 100)]
    [9, 18, 36, 104]
    """
    step = 1 << max(0, length.bit_length() - STEPS.bit_length())
    return -(-length // step) * step
