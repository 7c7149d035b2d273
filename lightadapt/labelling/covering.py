"""Few records that stand for many: each of the many is to have one of the few near it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lightadapt.heads.pooling import of_length_one

BLOCK = 1_024
"""Rows of a table of cosines that is made at once."""
ENOUGH = 5_000
"""Records that are to be stood for; of more, so many are drawn, or `TIMES` as many as are chosen: that says nearly the
same of a choice."""
TIMES = 5
TRIED = 64
"""Candidates whose gain is computed anew at once."""
SAME = 0.04
"""Squared distance, as a share of the mean one between two records, up to which two records are nearly the same."""
ROUNDING = 1e-6
"""What the squared distance of equal vectors may come to in float32."""


class Pick(NamedTuple):
    """A record that was chosen."""

    place: int
    nearest_of: int
    """How many records have it as the nearest of those that were chosen, itself included."""


def cover(vectors: np.ndarray, weights: np.ndarray, n: int, *, known: np.ndarray, seed: int) -> list[Pick]:
    """The `n` records that stand best for all, the best first; fewer where the others are nearly the same as these.

    They make sum_i w_i max(0, max_c cos(x_i, x_c)) large, where c is one of those chosen or known: the facility
    location function, as in Wei, Iyer and Bilmes, "Submodularity in data subset selection and active learning" (2015).
    Taking what adds most, one after the other, gives at least 63 % of the best sum (Nemhauser, Wolsey and Fisher 1978).
    The mean of all vectors is taken off first, so that cosines tell records apart that all point the same way.

    Args:
        vectors: `(N, width)`.
        weights: `(N,)`, how much it counts that a record is stood for.
        known: `(M, width)`, of records that are labelled already.
        seed: of the drawing from very many records.
    """
    crowd = Crowd(vectors)
    known = known - crowd.middle
    free = np.ones(len(vectors), dtype=bool)
    for each in known:
        free &= ~crowd.nearly_same(each)
    rows = np.arange(len(vectors))
    if len(rows) > (enough := max(ENOUGH, TIMES * n)):
        rows = np.sort(np.random.default_rng(seed).choice(rows, enough, replace=False))
    chosen = _greedily(crowd, rows, weights[rows], n, of_length_one(known), free)
    owners = _nearest(crowd.directions, np.concatenate([crowd.directions[chosen], of_length_one(known)]))
    counts = np.bincount(owners, minlength=len(chosen))
    return [Pick(place, max(1, int(count))) for place, count in zip(chosen, counts[: len(chosen)], strict=True)]


class Crowd:
    """Vectors `(N, width)` without their mean, and what is nearly the same among them."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.middle = vectors.mean(0)
        self.vectors = vectors - self.middle
        self.directions = of_length_one(self.vectors)
        self._squares = (self.vectors**2).sum(1)
        self._near = SAME * 2 * float(self._squares.mean()) + ROUNDING

    def nearly_same(self, one: np.ndarray) -> np.ndarray:
        """Which of them are nearly the same as one vector without the mean, `(N,)`."""
        return self._squares + one @ one - 2 * (self.vectors @ one) <= self._near  # type: ignore[no-any-return]


def _greedily(
    crowd: Crowd, rows: np.ndarray, weights: np.ndarray, n: int, known: np.ndarray, free: np.ndarray
) -> list[int]:
    """The places of those chosen, in their order, among those that are `free`.

    A gain never grows when more is chosen, so one that was computed before is a bound: only candidates whose bound is
    among the highest are computed anew (Minoux 1978).

    Args:
        rows: of the records that are to be stood for, with their `weights`.
        known: directions of records that are labelled already.
    """
    stood_for = crowd.directions[rows]
    best = np.zeros(len(rows), dtype=np.float32)
    for block in _blocks(known):
        best = np.maximum(best, (block @ stood_for.T).max(0))

    def gains(block: np.ndarray) -> np.ndarray:
        return np.maximum(block @ stood_for.T - best, 0) @ weights  # type: ignore[no-any-return]

    bounds = np.concatenate([gains(block) for block in _blocks(crowd.directions)])
    chosen: list[int] = []
    while len(chosen) < n and free.any():
        bounds[~free] = -np.inf
        computed = np.zeros(len(bounds), dtype=bool)
        while not computed[first := int(bounds.argmax())]:
            open_bounds = np.where(computed, -np.inf, bounds)
            some = np.argpartition(open_bounds, -min(TRIED, len(bounds)))[-TRIED:]
            some = some[open_bounds[some] >= bounds[computed].max(initial=-np.inf)]
            bounds[some] = np.where(free[some], gains(crowd.directions[some]), -np.inf)
            computed[some] = True
        chosen.append(first)
        best = np.maximum(best, stood_for @ crowd.directions[first])
        free &= ~crowd.nearly_same(crowd.vectors[first])
        free[first] = False
    return chosen


def _nearest(vectors: np.ndarray, to: np.ndarray) -> np.ndarray:
    """For each vector the place of the one among `to` with the highest cosine, `(N,)`; of equal ones the first."""
    return np.concatenate([(block @ to.T).argmax(1) for block in _blocks(vectors)])


def _blocks(vectors: np.ndarray) -> list[np.ndarray]:
    return [vectors[start : start + BLOCK] for start in range(0, len(vectors), BLOCK)]
