"""Many features in batches of like length by a budget of tokens, and examples in pieces that memory holds."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from lightadapt.tasks import Feature, Task

if TYPE_CHECKING:
    from lightadapt.zero_shot.stand_in import StandIn

BATCH_TOKENS_A_THREAD = 512
"""The tokens of a batch for each thread of a CPU, padding included: what a batch computes should stay in its caches
(`benchmarks/predict_speed.py`)."""
PIECE_TOKENS = 2**17
"""The most tokens that are inferred before what was inferred becomes predictions: many batches, not much memory."""
PIECE_BATCHES = 32
"""As many batches are enough to sort by length."""


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


def sorted_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Index lists, longest first, of at most `batch_tokens` tokens with padding (a longer record goes alone)."""
    batch: list[int] = []
    for index in np.argsort(-np.asarray(lengths), kind="stable").tolist():
        if batch and (len(batch) + 1) * lengths[batch[0]] > batch_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
