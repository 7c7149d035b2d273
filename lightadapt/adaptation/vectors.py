"""Texts as vectors: what the backbone makes of them, pooled."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lightadapt import peft_bridge
from lightadapt.adaptation.prediction import run_model, suitable_tokens
from lightadapt.adaptation.runner import Runner
from lightadapt.heads.pooling import Pooling, of_length_one, pool
from lightadapt.tasks import Feature, ModelView, Task

TEXT = ("input_ids", "attention_mask", "token_type_ids")
"""The inputs that a backbone reads a text from, among those of tasks."""


def vectors_of(
    runner: Runner, examples: Sequence[Any], *, adapted: bool = True, task: Task | None = None
) -> np.ndarray:
    """`(N, width)` in float32: a vector of length one for each of N examples, over all of its windows.

    They are pooled as the base was made to be, or as the mean of the tokens where nothing says how.

    Args:
        adapted: whether the adapter computes, too; else they are those of the base alone.
        task: another form of the task than the present one.
    """
    task = task or runner.task
    view = runner.view_of(task)
    features = task.encode(examples, view, targets=False).features
    way = runner.pooling or "mean"
    found = run_model(
        runner.model,
        features,
        list(map(len, features)),
        lambda batch: _vectors(runner, batch, view, way, adapted=adapted),
        done=lambda count: None,
        batch_tokens=suitable_tokens(runner.model.device),
    )
    sums = np.zeros((len(examples), len(found[0]) if found else 0), dtype=np.float32)
    for feature, vector in zip(features, found, strict=True):
        sums[feature.example] += vector
    return of_length_one(sums)


def _vectors(
    runner: Runner, features: Sequence[Feature], view: ModelView, way: Pooling, *, adapted: bool
) -> list[np.ndarray]:
    """Vectors of length one, `(width,)` for each feature."""
    model = runner.model
    plain = [replace(feature, targets={}) for feature in features]
    batch = {name: value.to(model.device) for name, value in runner.task.collate(plain, view).items()}
    backbone: Any = model.get_encoder() if runner.family == "encoder-decoder" else model.base_model
    # A prompt changes the vectors before it has learned anything.
    with torch.no_grad(), nullcontext() if adapted else peft_bridge.switched_off(model):
        hidden = backbone(**{name: batch[name] for name in TEXT if name in batch}).last_hidden_state  # (B, T, width)
    return list(of_length_one(pool(hidden, batch["attention_mask"], way).cpu().numpy()))
