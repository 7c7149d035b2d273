"""Batches by a budget of tokens: sequences of like length together, so that little of a batch is padding.

Batches come in few shapes. On a CPU in bfloat16 each product of another shape is built anew, and what was built stays:
with as many shapes as batches a step takes a fifth longer, and a run of a small encoder 700 MB more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

from lightadapt.errors import LightAdaptError
from lightadapt.tasks.encoding.widths import next_width

ROWS = "rows"
"""Where a batch has the numbers of its records."""
EVENED = 4
"""Batches at the end that have shapes of their own, so that none is small."""


class TokenBudgetBatches(Sampler[list[int]]):
    """Index lists of about `batch_tokens` real tokens each, in another random order every epoch.

    Records are sorted by the width that they are padded to, those of one width in random order, and cut; each width has
    a number of rows of its own, so that most batches of a width have the same shape. Then the batches are shuffled. The
    order depends on seed and epoch alone, and each epoch has the same shapes, so that training can be resumed in the
    middle of one.

    >>> batches = TokenBudgetBatches([4, 4, 4, 4, 16], batch_tokens=16, seed=0)
    >>> sorted(len(batch) for batch in batches)
    [1, 4]
    """

    batch_size = None  # accelerate asks; the number of records differs from batch to batch

    def __init__(self, lengths: Sequence[int], *, batch_tokens: int, seed: int, multiple_of: int = 1) -> None:
        """`multiple_of` divides the number of batches, so that it can be dealt out evenly."""
        self.seed = seed
        self.epoch = 0
        self._widths = _widths_of(lengths)
        self._rows = _rows_of_batches(np.sort(self._widths), count_batches(lengths, batch_tokens, multiple_of))

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self._widths))
        order = order[np.argsort(self._widths[order], kind="stable")]
        batches = np.split(order, np.cumsum(self._rows)[:-1])
        for position in generator.permutation(len(batches)):
            yield batches[position].tolist()


def batches_a_step(records: int, processes: int, accumulated: int) -> int:
    """The batches that make one step of the optimizer: those that each process accumulates, over all processes.

    Where there are fewer records than that, a step takes one batch of each process.
    """
    return processes * accumulated if records >= processes * accumulated else processes


def count_batches(lengths: Sequence[int], batch_tokens: int, multiple_of: int = 1) -> int:
    """How many batches of about `batch_tokens` real tokens there are, a multiple of some number and none empty.

    Raises:
        LightAdaptError: there are fewer records than that number.
    """
    most = len(lengths) // multiple_of * multiple_of
    if not most:
        raise LightAdaptError(
            f"{len(lengths)} training sequences for {multiple_of} processes: each process needs one of its own. "
            "Start fewer processes."
        )
    wanted = max(1, round(sum(lengths) / batch_tokens))
    return min(-(-wanted // multiple_of) * multiple_of, most)


def _rows_of_batches(widths: np.ndarray, count: int) -> list[int]:
    """How many records each of so many batches has, by the widths of all in their order; none is empty.

    Each width has as many rows as go into a number of tokens, the smallest that gives no more batches. What is left
    over is shared out among the last ones.
    """
    tokens = int(widths.sum()) / count
    rows = _cut(widths, tokens)
    while len(rows) > count:
        tokens *= 1.01
        rows = _cut(widths, tokens)
    alike = rows[: max(0, len(rows) - EVENED)]
    while alike and len(widths) - sum(alike) < count - len(alike):
        alike.pop()
    return alike + _cut_evenly(widths[sum(alike) :], count - len(alike))


def _widths_of(lengths: Sequence[int]) -> np.ndarray:
    """What each record is padded to in a batch that has no longer one, but for a limit that only the longest meet."""
    widths = {length: next_width(length) for length in set(lengths)}
    return np.array([widths[length] for length in lengths])


def _cut(widths: np.ndarray, tokens: float) -> list[int]:
    """The rows of each batch, as many as its last and widest row allows."""
    rows: list[int] = []
    start = widest = 0
    while start < len(widths):
        count = max(1, round(tokens / int(widths[widest])))
        last = min(start + count, len(widths)) - 1
        if widths[last] > widths[widest]:
            widest = last  # wider, and so with fewer rows
            continue
        rows.append(last + 1 - start)
        start = widest = last + 1
    return rows


def _cut_evenly(widths: np.ndarray, count: int) -> list[int]:
    """The rows of so many batches of about as many tokens each, none empty."""
    rows, start = [], 0
    totals = np.concatenate([[0], np.cumsum(widths)])
    for left in range(count, 0, -1):
        target = totals[start] + (totals[-1] - totals[start]) / left
        end = int(np.abs(totals - target).argmin()) if left > 1 else len(widths)
        end = min(max(end, start + 1), len(widths) - left + 1)
        rows.append(end - start)
        start = end
    return rows


class Numbered:
    """Features with their numbers."""

    def __init__(self, features: Sequence[Any]) -> None:
        self.features = features

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> tuple[int, Any]:
        return index, self.features[index]


def collate_numbered(
    collate: Callable[[Sequence[Any]], dict[str, torch.Tensor]], numbered: Sequence[tuple[int, Any]]
) -> dict[str, torch.Tensor]:
    """The batch of these features, with their numbers."""
    rows, features = zip(*numbered, strict=True)
    return {**collate(features), ROWS: torch.tensor(rows)}
