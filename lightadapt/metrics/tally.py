"""What metrics need to know of each record, so that they can be had quickly of any choice of records.

A bootstrap scores a thousand choices of the records, and a permutation test ten thousand. Most metrics are functions of
sums over the records, so what is summed is found once, and each choice is one row of a matrix product.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lightadapt.errors import LightAdaptError

if TYPE_CHECKING:
    from typing_extensions import Self


class Tally(ABC):
    """The metrics of any choice of N records."""

    resamples: ClassVar[int] = 1_000
    """The choices that a bootstrap makes."""
    permutations: ClassVar[int] = 9_999
    """Those that a permutation test makes."""

    @abstractmethod
    def __len__(self) -> int:
        """N, the number of records."""

    @abstractmethod
    def scores(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """The metrics of R choices of the records, `(R,)` each; NaN where a choice has none.

        Args:
            weights: `(R, N)`, how often each record is in each choice.
        """

    @abstractmethod
    def joined(self, other: Self) -> Self:
        """The tally of these records with those of another one behind them.

        Raises:
            LightAdaptError: the two do not count the same.
        """

    def whole(self) -> dict[str, float]:
        """The metrics of all records."""
        return {name: float(values[0]) for name, values in self.scores(np.ones((1, len(self)))).items()}


@dataclass(frozen=True, eq=False)
class Counted(Tally):
    """Metrics that are functions of sums over the records."""

    counts: Any
    """`(N, C)`, what is summed, as a sparse array of scipy."""
    formula: Callable[[np.ndarray], dict[str, np.ndarray]]
    """The metrics `(R,)` from sums `(R, C)`."""

    @classmethod
    def of(cls, rows: Any, formula: Callable[[np.ndarray], dict[str, np.ndarray]]) -> Counted:
        """From counts `(N, C)` in any form."""
        from scipy.sparse import csr_array

        return cls(csr_array(rows, dtype=np.float64), formula)

    def __len__(self) -> int:
        return int(self.counts.shape[0])

    def scores(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        return self.formula((self.counts.T @ weights.T).T)

    def joined(self, other: Counted) -> Counted:
        from scipy.sparse import vstack

        if self.counts.shape[1] != other.counts.shape[1]:
            raise LightAdaptError("The two sides do not count the same, so they cannot be compared.")
        return replace(self, counts=vstack([self.counts, other.counts], format="csr"))

    def spread(self, places: Sequence[int], total: int) -> Counted:
        """The same for `total` records, of which only those at `places` count."""
        from scipy.sparse import csr_array

        put = csr_array((np.ones(len(places)), (list(places), range(len(places)))), shape=(total, len(places)))
        return replace(self, counts=put @ self.counts)


@dataclass(frozen=True, eq=False)
class Together(Tally):
    """The metrics of several tallies of the same records."""

    parts: Sequence[Tally]

    def __len__(self) -> int:
        return len(self.parts[0])

    def scores(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        return {name: values for part in self.parts for name, values in part.scores(weights).items()}

    def spread(self, places: Sequence[int], total: int) -> Together:
        """As `Counted.spread`, for parts that are."""
        return Together([part.spread(places, total) for part in self.parts if isinstance(part, Counted)])

    def joined(self, other: Together) -> Together:
        return Together([one.joined(two) for one, two in zip(self.parts, other.parts, strict=True)])


@dataclass(frozen=True, eq=False)
class Rescored(Tally):
    """Metrics of which nothing is known but how to compute them: each choice is scored anew, so there are fewer."""

    resamples: ClassVar[int] = 200
    permutations: ClassVar[int] = 199
    score: Callable[[Sequence[Any], Sequence[Any]], dict[str, float]]
    """Takes examples and predictions."""
    examples: Sequence[Any]
    predictions: Sequence[Any]

    def __len__(self) -> int:
        return len(self.predictions)

    def scores(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        rows = [self._of_choice(row) for row in weights]
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}

    def _of_choice(self, weights: np.ndarray) -> dict[str, float]:
        places = np.repeat(np.arange(len(self)), weights.astype(int)).tolist()
        return self.score([self.examples[place] for place in places], [self.predictions[place] for place in places])

    def joined(self, other: Rescored) -> Rescored:
        return replace(
            self,
            examples=[*self.examples, *other.examples],
            predictions=[*self.predictions, *other.predictions],
        )


# ---- what is counted


def count_sets(
    gold: Iterable[Collection[Any]], predicted: Iterable[Collection[Any]], names: Sequence[Any], key: Any = None
) -> Any:
    """`(N, 3 K)` for K names: whether each is true, predicted, and right of each record, as a sparse array.

    Args:
        key: what of an item is its name, in whole it may say more; None: it is its name.
    """
    from scipy.sparse import csr_array

    place = {name: number for number, name in enumerate(names)}
    of = key or (lambda item: item)
    rows, columns, records = [], [], 0
    for true, given in zip(gold, predicted, strict=True):
        first, second = set(true), set(given)
        for side, items in enumerate((first, second, first & second)):
            columns += [side * len(names) + place[of(item)] for item in items]
            rows += [records] * len(items)
        records += 1
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=(records, 3 * len(names)))


def precision_recall_f1(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each `(R, K)`, from sums `(R, 3 K)` of what `count_sets` counts; 0 where there is nothing to divide by."""
    true, given, right = np.split(sums, 3, axis=1)
    return ratio(right, given), ratio(right, true), ratio(2 * right, true + given)


def ratio(part: np.ndarray, whole: np.ndarray, *, empty: float = 0.0) -> np.ndarray:
    """`part / whole`, and `empty` where the whole is 0."""
    found: np.ndarray = np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, empty), where=whole != 0)
    return found
