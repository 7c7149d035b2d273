"""The vectors of an adaptation's examples, by the adapted backbone or by the base alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from lightadapt import peft_bridge
from lightadapt.adaptation.prediction import run_model
from lightadapt.adaptation.runner import Runner
from lightadapt.base.vectors import vectors_of_batch
from lightadapt.heads.pooling import of_length_one
from lightadapt.tasks import Task


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
    way, taken, model = runner.pooling or "mean", runner.accepted, runner.model
    # A prompt changes the vectors before it has learned anything.
    with nullcontext() if adapted else peft_bridge.switched_off(model):
        found = run_model(
            model,
            features,
            list(map(len, features)),
            lambda batch: vectors_of_batch(model, task, batch, view, way, accepted=taken),
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
