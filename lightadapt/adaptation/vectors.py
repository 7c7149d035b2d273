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

    They are pooled as the base was made to be, or as the mean of the tokens where nothing says how. That of a question
    with choices is the mean over these.

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


def base_vectors(runner: Runner, examples: Sequence[Any]) -> np.ndarray:
    """`(N, width)` in float32, of length one: the vectors of the base alone, or of what the base became by training."""
    return vectors_of(runner, examples, adapted=base_learned(runner))


def base_learned(runner: Runner) -> bool:
    """Whether parameters of the base itself are trained, so that it is no longer there as it was."""
    return bool(runner.adaptation.design.plan.unfrozen)


def _vectors(
    runner: Runner, features: Sequence[Feature], view: ModelView, way: Pooling, *, adapted: bool
) -> list[np.ndarray]:
    """Vectors of length one, `(width,)` for each feature."""
    model = runner.model
    plain = [replace(feature, targets={}) for feature in features]
    given = runner.task.collate(plain, view)
    counts = [_rows_of(feature) for feature in features]
    batch = {name: _flat(given[name]).to(model.device) for name in TEXT if name in given and name in runner.accepted}
    backbone: Any = model.get_encoder() if runner.family == "encoder-decoder" else model.base_model
    # A prompt changes the vectors before it has learned anything.
    with torch.no_grad(), nullcontext() if adapted else peft_bridge.switched_off(model):
        hidden = backbone(**batch).last_hidden_state  # (rows, T, width)
    rows = of_length_one(pool(hidden, batch["attention_mask"], way).cpu().numpy())
    if max(counts) == 1:
        return list(rows)
    # A batch with an axis for choices has rows that are padding, too; else choices follow one another.
    most = max(counts) if given["input_ids"].dim() > 2 else None
    starts = np.arange(len(counts)) * most if most else np.cumsum([0, *counts[:-1]])
    return [of_length_one(rows[start : start + count].mean(0)) for start, count in zip(starts, counts, strict=True)]


def _rows_of(feature: Feature) -> int:
    """How many sequences a feature is: one, or one for each choice."""
    ids = feature.inputs["input_ids"]
    return len(ids) if isinstance(ids[0], list) else 1


def _flat(values: torch.Tensor) -> torch.Tensor:
    """The rows of a batch `(B, T)`, or of one with an axis for choices `(B, C, T)`."""
    return values.reshape(-1, values.shape[-1])
