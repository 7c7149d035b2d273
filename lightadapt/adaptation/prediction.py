"""What a model gives for many features: sorted by length, in batches by token budget, order given back."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from lightadapt.adaptation.adaptation import Adaptation
from lightadapt.machine.processes import from_main, gather, is_sharded, meet, rank, share_of
from lightadapt.tasks import Feature, ModelView, Task

BATCH_TOKENS = 4096
"""The tokens of a batch on a GPU, padding included."""
BATCH_TOKENS_A_THREAD = 512
"""The same on a CPU: what a batch computes should stay in its caches (`benchmarks/predict_speed.py`)."""
PIECE_TOKENS = 2**17
"""The most tokens that are inferred before what was inferred becomes predictions: many batches, not much memory."""
PIECE_BATCHES = 32
"""As many batches are enough to sort by length."""
SHOW_PROGRESS_FROM = 200_000
"""Tokens from which a progress bar is worth its line."""

AnyFeature = TypeVar("AnyFeature")


class Sizes:
    """The example of each feature, and the tokens that inferring from it costs."""

    def __init__(self) -> None:
        self.owners = array("q")
        self.costs = array("q")

    def noted(self, features: Iterable[Feature], task: Task) -> Iterator[Feature]:
        """The features as they come; what is asked of them by now is noted."""
        for feature in features:
            self.owners.append(feature.example)
            self.costs.append(task.cost(feature))
            yield feature


def decoded(
    adaptation: Adaptation,
    task: Task,
    view: ModelView,
    examples: Sequence[Any],
    features: Sequence[Feature],
    sizes: Sizes,
    *,
    batch_tokens: int | None = None,
    shared: bool = False,
) -> Iterator[Any]:
    """The predictions one by one; what was inferred is kept for a piece of the examples only.

    Args:
        batch_tokens: tokens of a batch; None: as many as suit the device.
        shared: whether all processes call this together, so that each can do its share.
    """
    model, costs, tokens = adaptation.model, sizes.costs, sum(sizes.costs)
    bar = progress(len(costs), tokens)
    with adaptation.adapter.folded_if_it_pays(tokens), bar:
        most = piece_tokens(model, shared=shared)
        for chosen, places in whole_examples(sizes.owners, costs, len(examples), most):
            mine = [_of_piece(features[place], chosen.start) for place in places]
            inferred = run_model(
                model,
                mine,
                costs[places.start : places.stop],
                lambda batch: task.infer(model, batch, view),
                done=bar.update,
                batch_tokens=batch_tokens or suitable_tokens(model.device),
                shared=shared,
            )
            bar.update(places.stop - bar.n)  # what other processes did
            yield from task.decode(examples[chosen.start : chosen.stop], mine, inferred, view)


def _of_piece(feature: Feature, first: int) -> Feature:
    """The feature as one of a piece that begins with this example."""
    return replace(feature, example=feature.example - first) if first else feature


def run_model(
    model: PreTrainedModel,
    features: Sequence[AnyFeature],
    lengths: Sequence[int],
    infer: Callable[[Sequence[AnyFeature]], Sequence[Any]],
    *,
    done: Callable[[int], object],
    batch_tokens: int,
    shared: bool = False,
) -> list[Any]:
    """What `infer` gives for each feature; it gets batches of like `lengths`, with the model in evaluation mode.

    Args:
        done: is told of each batch how many features it has.
        batch_tokens: the most tokens of a batch, padding included.
        shared: whether all processes call this together, with the same features. Each then does its share of the
            batches, and all get all results. Where the model itself is in parts all have to call this anyway, and all
            compute the same: batches of their own would have them wait for each other.
    """
    in_parts = is_sharded(model)
    if in_parts:
        meet("predict")
    if in_parts or shared:
        batch_tokens = from_main(batch_tokens)  # processes may have different numbers of threads
    shared = shared and not in_parts
    batches: Sequence[list[int]] = list(sorted_batches(lengths, batch_tokens))
    batches = share_of(batches) if shared else batches
    found: list[tuple[int, Any]] = []
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for indices in batches:
                found += zip(indices, infer([features[index] for index in indices]), strict=True)
                done(len(indices))
    finally:
        model.train(training)
    placed = dict(gather(found) if shared else found)
    return [placed[index] for index in range(len(features))]


def progress(features: int, tokens: int) -> Any:
    """A progress bar over so many features, which is silent where they are done before it is read."""
    quiet = rank() > 0 or tokens < SHOW_PROGRESS_FROM
    return tqdm(total=features, desc="predict", leave=False, disable=quiet)


def piece_tokens(model: PreTrainedModel, *, shared: bool) -> int:
    """The tokens of a piece; the same in all processes where they compute together."""
    together = shared or is_sharded(model)
    return PIECE_TOKENS if together else min(PIECE_TOKENS, PIECE_BATCHES * suitable_tokens(model.device))


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


def suitable_tokens(device: torch.device) -> int:
    """The tokens of a batch that suit a device."""
    return BATCH_TOKENS_A_THREAD * torch.get_num_threads() if device.type == "cpu" else BATCH_TOKENS


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
