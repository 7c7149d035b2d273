"""What a model gives for many features, in batches of like length, by one process or by several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from lightadapt import peft_bridge
from lightadapt.adaptation.adaptation import Adaptation
from lightadapt.adaptation.batches import (
    BATCH_TOKENS_A_THREAD,
    PIECE_BATCHES,
    PIECE_TOKENS,
    Sizes,
    of_piece,
    sorted_batches,
    whole_examples,
)
from lightadapt.adaptation.one_token import reading
from lightadapt.base.plain_attention import attention_for
from lightadapt.machine.processes import from_main, gather, is_sharded, meet, rank, share_of
from lightadapt.tasks import Feature, ModelView, Task
from lightadapt.zero_shot.stand_in import StandIn

BATCH_TOKENS = 4096
"""The tokens of a batch on a GPU, padding included."""
SHOW_PROGRESS_FROM = 200_000
"""Tokens from which a progress bar is worth its line."""

AnyFeature = TypeVar("AnyFeature")


def decoded(
    adaptation: Adaptation,
    task: Task | StandIn,
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
        task: what encoded the features.
        batch_tokens: tokens of a batch; None: as many as suit the device.
        shared: whether all processes call this together, so that each can do its share.
    """
    model, costs, tokens = adaptation.model, sizes.costs, sum(sizes.costs)
    bar = progress(len(costs), tokens)
    with adaptation.adapter.folded_if_it_pays(tokens), bar:
        most = piece_tokens(model, shared=shared)
        for chosen, places in whole_examples(sizes.owners, costs, len(examples), most):
            mine = [of_piece(features[place], chosen.start) for place in places]
            one_token = reading(adaptation, task, mine, view) if isinstance(task, Task) and mine else nullcontext()
            with one_token:
                inferred = run_model(
                    model,
                    mine,
                    costs[places.start : places.stop],
                    lambda batch: task.infer(model, batch, view),
                    done=bar.update,
                    batch_tokens=batch_tokens,
                    shared=shared,
                )
            bar.update(places.stop - bar.n)  # what other processes did
            yield from task.decode(examples[chosen.start : chosen.stop], mine, inferred, view)


def run_model(
    model: PreTrainedModel,
    features: Sequence[AnyFeature],
    lengths: Sequence[int],
    infer: Callable[[Sequence[AnyFeature]], Sequence[Any]],
    *,
    done: Callable[[int], object] = lambda count: None,
    batch_tokens: int | None = None,
    shared: bool = False,
) -> list[Any]:
    """What `infer` gives for each feature; it gets batches of like `lengths`, with the model in evaluation mode.

    Args:
        done: is told of each batch how many features it has.
        batch_tokens: the most tokens of a batch, padding included; None: as many as suit the device.
        shared: whether all processes call this together, with the same features. Each then does its share of the
            batches, and all get all results. Where the model itself is in parts all have to call this anyway, and all
            compute the same: batches of their own would have them wait for each other.
    """
    in_parts = is_sharded(model)
    if in_parts:
        meet("predict")
    batch_tokens = batch_tokens or suitable_tokens(model.device)
    if in_parts or shared:
        batch_tokens = from_main(batch_tokens)  # processes may have different numbers of threads
    shared = shared and not in_parts
    batches: Sequence[list[int]] = list(sorted_batches(lengths, batch_tokens))
    batches = share_of(batches) if shared else batches
    found: list[tuple[int, Any]] = []
    training, switches = model.training, peft_bridge.is_training(model)
    if switches:
        model.eval()
    try:
        with torch.no_grad():
            for indices in batches:
                with attention_for(model, lengths[indices[0]]):
                    inferred = infer([features[index] for index in indices])
                found += zip(indices, inferred, strict=True)
                done(len(indices))
    finally:
        if switches:
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


def suitable_tokens(device: torch.device) -> int:
    """The tokens of a batch that suit a device."""
    return BATCH_TOKENS_A_THREAD * torch.get_num_threads() if device.type == "cpu" else BATCH_TOKENS
