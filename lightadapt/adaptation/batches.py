"""Many features in batches of like length by a budget of tokens, and examples in pieces that memory holds."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from lightadapt.tasks import Feature, Task
from lightadapt.tasks.encoding.widths import next_width

if TYPE_CHECKING:
    from lightadapt.zero_shot.stand_in import StandIn

BATCH_TOKENS_A_THREAD = 512
"""The tokens of a batch for each thread of a CPU, padding included: what a batch computes should stay in its caches
(`benchmarks/predict_speed.py`)."""
PIECE_TOKENS = 2**17
"""The most tokens that are inferred before what was inferred becomes predictions: many batches, not much memory."""
PIECE_BATCHES = 32
"""As many batches are enough to sort by length."""

ROWS = 4
"""What the numbers of rows are multiples of where batches are to have few shapes."""


class Sizes:
    """The example of each feature, and the tokens that inferring from it costs."""

    def __init__(self) -> None:
        self.owners = array("q")
        self.costs = array("q")

    def noted(self, features: Iterable[Feature], task: Task | StandIn) -> Iterator[Feature]:
        """The features as they come; what is asked of them by now is noted."""
        for feature in features:
            self.owners.append(feature.example)
            self.costs.append(task.cost(feature))
            yield feature


def of_piece(feature: Feature, first: int) -> Feature:
    """The feature as one of a piece that begins with this example."""
    return replace(feature, example=feature.example - first) if first else feature


def whole_examples(
    owners: Sequence[int], lengths: Sequence[int], examples: int, most: int
) -> Iterator[tuple[range, range]]:
    """The examples in pieces of about `most` tokens, each with the range of its features.

    All is one piece where the features are not in the order of their examples.

    Args:
        owners: the example of each feature.
    """
    if any(one > other for one, other in pairwise(owners)):
        yield range(examples), range(len(owners))
        return
    first, start, tokens = 0, 0, 0
    for place, (owner, length) in enumerate(zip(owners, lengths, strict=True)):
        if tokens >= most and owner != owners[place - 1]:
            yield range(first, owner), range(start, place)
            first, start, tokens = owner, place, 0
        tokens += length
    yield range(first, examples), range(start, len(owners))


def sorted_batches(lengths: Sequence[int], batch_tokens: int, *, rows: int = 1) -> Iterator[list[int]]:
    """Index lists, longest first, of at most `batch_tokens` tokens with padding (a longer record goes alone).

    Args:
        rows: what their numbers of records are multiples of, but for the last, and for those of fewer.
    """
    order, start = np.argsort(-np.asarray(lengths), kind="stable").tolist(), 0
    while start < len(order):
        most = max(1, batch_tokens // max(1, lengths[order[start]]))
        most = most // rows * rows or most
        yield order[start : start + most]
        start += most


def batches_of_few_shapes(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Likewise, of few widths and numbers of rows: a CPU builds kernels for each shape, which a server keeps few of."""
    return sorted_batches([next_width(length) for length in lengths], batch_tokens, rows=ROWS)
