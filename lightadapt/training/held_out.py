"""Validation data that is a part of the training data."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeGuard

from lightadapt.adaptation.runner import Prepared
from lightadapt.data import Data, Records
from lightadapt.data.splitting import divide
from lightadapt.data.stored import chosen
from lightadapt.numbers import is_number


class HeldOut(NamedTuple):
    """Training data without a part of it, and that part."""

    learned: Prepared
    checked: tuple[Sequence[Any], Records]
    """The examples that are scored on, and their records."""
    numbers: list[int]
    """What the records of that part are counted as in the training data."""


def is_share(validation: Data | float | None) -> TypeGuard[float]:
    """Whether validation data is said to be a part of the training data, rather than given."""
    return is_number(validation) or isinstance(validation, bool)


def hold_out(learned: Prepared, share: float, seed: int) -> HeldOut:
    """Take a share of the data out, and of each class of it; the same one for the same data, share and seed.

    The task stays as it was prepared, from all of the data.

    Raises:
        DataError: it is no share, or one part would be empty.
    """
    records, examples = learned.records, learned.examples
    first, second = divide(learned.task.classes_of(examples), share, seed=seed, source=records.source)
    rest = array("Q", first)
    numbers = [records.number(index) for index in second]
    return HeldOut(
        replace(learned, records=records.only(rest), examples=chosen(examples, rest)),
        (chosen(examples, array("Q", second)), records.only(second)),
        numbers,
    )
