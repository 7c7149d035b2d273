"""The model's outputs for many features: sorted by length, in batches by token budget, order given back."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from typing import Any, TypeVar

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from lightadapt.training.batching import sorted_batches

BATCH_TOKENS = 4096
SHOW_PROGRESS_FROM = 200_000
"""Tokens from which a progress bar is worth its line."""

AnyFeature = TypeVar("AnyFeature", bound=Sized)


def run_model(
    model: PreTrainedModel,
    features: Sequence[AnyFeature],
    collate: Callable[[Sequence[AnyFeature]], dict[str, torch.Tensor]],
) -> list[np.ndarray]:
    """The logits of each feature in float32, padding removed: `(K,)`, or `(T, K)` for one row a token."""
    results: list[np.ndarray] = [np.empty(0)] * len(features)
    lengths = [len(feature) for feature in features]
    training = model.training
    model.eval()
    bar = tqdm(total=len(features), desc="predict", leave=False, disable=sum(lengths) < SHOW_PROGRESS_FROM)
    with torch.no_grad(), bar:
        for indices in sorted_batches(lengths, BATCH_TOKENS):
            logits = _logits(model, collate([features[index] for index in indices]))
            for row, index in enumerate(indices):
                # A copy, since a view would keep the whole padded batch.
                results[index] = (logits[row, : lengths[index]] if logits.ndim == 3 else logits[row]).copy()
            bar.update(len(indices))
    model.train(training)
    return results


def _logits(model: PreTrainedModel, batch: dict[str, Any]) -> np.ndarray:
    inputs = {name: value.to(model.device) for name, value in batch.items() if name != "labels"}
    logits: torch.Tensor = model(**inputs).logits
    return logits.float().cpu().numpy()
