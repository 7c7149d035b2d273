"""Batches by a budget of tokens: sequences of like length together, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

from lightadapt.errors import LightAdaptError

ROWS = "rows"
"""Where a batch has the numbers of its records."""
WINDOW = 50
"""Batches that are sorted together: long enough to find like lengths, short enough to keep the order random."""


class TokenBudgetBatches(Sampler[list[int]]):
    """Index lists of about `batch_tokens` real tokens each, in another random order every epoch.

    Records are shuffled, cut into windows, sorted by length inside each window, and cut into batches of equal
    token count; then the batches are shuffled. The order depends on seed and epoch alone, and the number of
    batches never changes, so that training can be resumed in the middle of an epoch.

    >>> batches = TokenBudgetBatches([4, 4, 4, 4, 16], batch_tokens=16, seed=0)
    >>> sorted(len(batch) for batch in batches)
    [1, 4]
    """

    batch_size = None  # accelerate asks; the number of records differs from batch to batch

    def __init__(self, lengths: Sequence[int], *, batch_tokens: int, seed: int, multiple_of: int = 1) -> None:
        """`multiple_of` divides the number of batches, so that it can be dealt out evenly."""
        self.lengths = np.asarray(lengths)
        self.seed = seed
        self.epoch = 0
        self.count = count_batches(lengths, batch_tokens, multiple_of)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.lengths))
        windows = -(-self.count // WINDOW)
        batches: list[list[int]] = []
        for number in range(windows):
            first, last = self.count * number // windows, self.count * (number + 1) // windows
            # As many records as batches at least, since there are as many in all.
            window = order[len(order) * first // self.count : len(order) * last // self.count]
            batches += self._cut(window[np.argsort(self.lengths[window], kind="stable")], last - first)
        for position in generator.permutation(len(batches)):
            yield batches[position]

    def _cut(self, ordered: np.ndarray, count: int) -> list[list[int]]:
        """The window as exactly `count` batches of about equal token count, none empty."""
        batches, start = [], 0
        totals = np.concatenate([[0], np.cumsum(self.lengths[ordered])])
        for number in range(count):
            left = count - number
            target = totals[start] + (totals[-1] - totals[start]) / left
            end = int(np.abs(totals - target).argmin()) if left > 1 else len(ordered)
            end = min(max(end, start + 1), len(ordered) - left + 1)
            batches.append(ordered[start:end].tolist())
            start = end
        return batches


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
