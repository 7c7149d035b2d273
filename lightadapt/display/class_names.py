"""The names of classes beside a chart, however long and however many."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import east_asian_width

FEW = 20
"""Classes up to which there is room for large letters, and for numbers in the cells of a matrix."""
MOST = 100
"""Classes that are drawn; of more, those that are worst."""
LONGEST = 26
"""Characters of a class's name beyond which its middle is left out."""


def font(count: int) -> float:
    """The size of letters, in points."""
    return 8.5 if count <= FEW else 6.5


def row_height(count: int) -> float:
    """The height of one class."""
    return 0.36 if count <= FEW else 0.15


def shorten(name: str, longest: int = LONGEST) -> str:
    """The name on one line, its middle left out where it is long.

    >>> shorten("card_payment_not_recognised_by_customer")
    'card_payment_…_by_customer'
    """
    name = " ".join(name.split()).replace("$", r"\$")  # which would begin a formula
    half = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[: longest - 1 - half]}…{name[-half:]}"


def room_for(names: Sequence[str], count: int) -> float:
    """What the longest of the names takes, and never less."""
    longest = max(sum(map(_width, shorten(name))) for name in names)
    return 0.22 + longest * font(count) / 72


def _width(letter: str) -> float:
    """At most what a letter takes in matplotlib's own face, DejaVu Sans, as a share of its size."""
    if letter in "Wm@%…—" or east_asian_width(letter) in "WF":
        return 1.02
    return 0.87 if letter.isupper() or letter == "w" else 0.65
