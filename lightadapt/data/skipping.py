"""Records that cannot be used: the first is an error, or they are left out, counted and told of."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from lightadapt.data.records import Records
from lightadapt.data.stored import chosen
from lightadapt.errors import DataError, LightAdaptError, RecordError, nearest, shown, warn

ON_ERROR = ("raise", "skip")
REASONS = 3
"""Records whose reason a warning gives."""
LONGEST = 280
"""Characters of a reason in a warning."""
PIECE = 1_000
"""Examples that are looked at together for the bad ones among them."""
Check: TypeAlias = Callable[[Sequence[Any], Records], object]


def check_on_error(on_error: str) -> None:
    """Raise for what is neither `"raise"` nor `"skip"`.

    Raises:
        LightAdaptError: naming both.
    """
    if on_error not in ON_ERROR:
        raise LightAdaptError(
            f"on_error={shown(on_error)}: {nearest(on_error, ON_ERROR)}Give 'raise', which refuses the data for its "
            "first bad record, or 'skip', which leaves bad records out."
        )


class BadRecords:
    """What becomes of the records of one set of data that cannot be used, and the count of those left out.

    >>> bad = BadRecords("skip")
    >>> bad.meet(17, DataError("Record 17: text is empty."))
    >>> bad.count
    1
    """

    def __init__(self, on_error: str = "raise") -> None:
        check_on_error(on_error)
        self.skips = on_error == "skip"
        """Whether they are left out."""
        self.count = 0
        self._first: list[tuple[int, str]] = []

    def meet(self, number: int, error: DataError) -> None:
        """Leave out the record of this number for the reason that the error gives.

        Raises:
            DataError: the error itself, where no record may be left out.
        """
        if not self.skips:
            raise error
        self.count += 1
        self._first = sorted([*self._first, (number, str(error))])[:REASONS]

    def another(self) -> BadRecords:
        """One of the same kind that has met none, for a reading that may have to be given up."""
        return BadRecords("skip" if self.skips else "raise")

    def take(self, other: BadRecords) -> None:
        """Count what another one has left out, too."""
        self.count += other.count
        self._first = sorted([*self._first, *other._first])[:REASONS]

    def check_rest(self, rest: int) -> None:
        """Raise when records were left out and none is left.

        Raises:
            DataError: with the reason of the first record.
        """
        if self.count and not rest:
            raise DataError(f"No record can be used, of {self.count:,} in all. The first of them: {self._first[0][1]}")

    def check_none(self) -> None:
        """Raise when records were left out.

        Raises:
            DataError: with the reason of the first record.
        """
        if self.count:
            raise DataError(self._first[0][1])

    def tell(self, rest: int) -> None:
        """Warn of what was left out, beside so many records that were not."""
        if self.count:
            reasons = " ".join(
                reason if len(reason) <= LONGEST else f"{reason[:LONGEST]}…" for _, reason in self._first
            )
            more = " The first of them: " if self.count > REASONS else " "
            warn(f"{self.count:,} of {self.count + rest:,} records cannot be used and are left out.{more}{reasons}")


def usable(examples: Sequence[Any], records: Records, check: Check, bad: BadRecords) -> tuple[Sequence[Any], Records]:
    """The examples that pass a check of many at once, and their records; the others are met as bad ones.

    Args:
        check: raises a DataError for the first example that does not pass.

    Raises:
        DataError: no record may be left out; or it is no single record that is wrong, but all of them together.
    """
    while len(examples):
        try:
            check(examples, records)
        except DataError:
            if not bad.skips:
                raise
            wrong = dict(_wrong(examples, records, check))
            if not wrong:
                raise
        else:
            break
        for place, error in wrong.items():
            bad.meet(records.number(place), error)
        rest = array("Q", (place for place in range(len(examples)) if place not in wrong))
        examples, records = chosen(examples, rest), records.only(rest)
    return examples, records


def _wrong(examples: Sequence[Any], records: Records, check: Check) -> Iterator[tuple[int, DataError]]:
    for start in range(0, len(examples), PIECE):
        stop = min(start + PIECE, len(examples))
        yield from _wrong_within(examples[start:stop], records.part(start, stop), check, start)


def _wrong_within(
    examples: Sequence[Any], records: Records, check: Check, first: int
) -> Iterator[tuple[int, DataError]]:
    """The examples that do not pass, found by halving, with their places among all.

    Args:
        first: the place of the first of these examples.
    """
    try:
        check(examples, records)
    except DataError as error:
        middle = len(examples) // 2
        halves = ((0, middle), (middle, len(examples))) if middle else ()
        found = [
            each
            for start, stop in halves
            for each in _wrong_within(examples[start:stop], records.part(start, stop), check, first + start)
        ]
        if found:
            yield from found
        elif isinstance(error, RecordError):  # alone each may pass, and one still does not go with the others
            yield first + error.index, error.at(records.place(error.index))
        elif not middle:
            yield first, error
        else:
            raise
