"""What a model gives for many features: sorted by length, in batches by token budget, order given back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from lightadapt.machine.processes import from_main, gather, is_sharded, meet, rank, share_of

BATCH_TOKENS = 4096
"""The tokens of a batch on a GPU, padding included."""
BATCH_TOKENS_A_THREAD = 512
"""The same on a CPU: what a batch computes should stay in its caches (`benchmarks/predict_speed.py`)."""
SHOW_PROGRESS_FROM = 200_000
"""Tokens from which a progress bar is worth its line."""

AnyFeature = TypeVar("AnyFeature")


def run_model(
    model: PreTrainedModel,
    features: Sequence[AnyFeature],
    lengths: Sequence[int],
    infer: Callable[[Sequence[AnyFeature]], Sequence[Any]],
    *,
    shared: bool = False,
) -> list[Any]:
    """What `infer` gives for each feature; it gets batches of like `lengths`, with the model in evaluation mode.

    Args:
        shared: whether all processes call this together, with the same features. Each then does its share of the
            batches, and all get all results. Where the model itself is in parts all have to call this anyway, and all
            compute the same: batches of their own would have them wait for each other.
    """
    in_parts, budget = is_sharded(model), _batch_tokens(model.device)
    if in_parts:
        meet("predict")
    if in_parts or shared:
        budget = from_main(budget)  # processes may have different numbers of threads
    shared = shared and not in_parts
    batches: Sequence[list[int]] = list(sorted_batches(lengths, budget))
    batches = share_of(batches) if shared else batches
    found: list[tuple[int, Any]] = []
    training = model.training
    model.eval()
    quiet = rank() > 0 or sum(lengths) < SHOW_PROGRESS_FROM
    bar = tqdm(total=sum(map(len, batches)), desc="predict", leave=False, disable=quiet)
    try:
        with torch.no_grad(), bar:
            for indices in batches:
                found += zip(indices, infer([features[index] for index in indices]), strict=True)
                bar.update(len(indices))
    finally:
        model.train(training)
    placed = dict(gather(found) if shared else found)
    return [placed[index] for index in range(len(features))]


def _batch_tokens(device: torch.device) -> int:
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
