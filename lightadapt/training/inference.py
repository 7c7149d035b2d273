"""What a model gives for many features: sorted by length, in batches by token budget, order given back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from lightadapt.training.batching import sorted_batches

BATCH_TOKENS = 4096
"""Of a batch on a GPU, padding included."""
BATCH_TOKENS_A_THREAD = 512
"""Likewise on a CPU: what a batch computes should stay in its caches (`benchmarks/predict_speed.py`)."""
SHOW_PROGRESS_FROM = 200_000
"""Tokens from which a progress bar is worth its line."""

AnyFeature = TypeVar("AnyFeature")


def run_model(
    model: PreTrainedModel,
    features: Sequence[AnyFeature],
    lengths: Sequence[int],
    infer: Callable[[Sequence[AnyFeature]], Sequence[Any]],
) -> list[Any]:
    """What `infer` gives for each feature; it gets batches of like `lengths`, with the model in evaluation mode."""
    results: list[Any] = [None] * len(features)
    training = model.training
    model.eval()
    bar = tqdm(total=len(features), desc="predict", leave=False, disable=sum(lengths) < SHOW_PROGRESS_FROM)
    try:
        with torch.no_grad(), bar:
            for indices in sorted_batches(lengths, _batch_tokens(model.device)):
                for index, result in zip(indices, infer([features[index] for index in indices]), strict=True):
                    results[index] = result
                bar.update(len(indices))
    finally:
        model.train(training)
    return results


def _batch_tokens(device: torch.device) -> int:
    return BATCH_TOKENS_A_THREAD * torch.get_num_threads() if device.type == "cpu" else BATCH_TOKENS
