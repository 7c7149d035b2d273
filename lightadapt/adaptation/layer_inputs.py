"""What goes into the output layer of a head where something is to be answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from lightadapt.adaptation.prediction import run_model
from lightadapt.adaptation.runner import Runner
from lightadapt.tasks.encoding.features import IGNORED


class Answer(NamedTuple):
    """What goes into the output layer at one place, and the outputs that hold there."""

    inputs: np.ndarray
    """`(width,)`."""
    outputs: Sequence[int]


def answers_of(runner: Runner, layer: nn.Linear, features: Sequence[Any]) -> list[Answer]:
    """What features with targets put into the output layer where something is to be answered."""
    taken: list[torch.Tensor] = []

    def infer(batch: Sequence[Any]) -> list[list[Answer]]:
        inputs = {
            name: value.to(runner.model.device) for name, value in runner.task.collate(batch, runner.view).items()
        }
        asked = {name: value for name, value in inputs.items() if name not in batch[0].targets}
        taken.clear()
        given = runner.model(**asked)
        hidden = taken[-1] if taken else given.vectors  # prototypes are compared with those
        return [_answers_of(each, rows) for each, rows in zip(batch, hidden.float().cpu().numpy(), strict=True)]

    handle = layer.register_forward_pre_hook(lambda module, args: taken.append(args[0]))
    try:
        found = run_model(
            runner.model,
            features,
            list(map(len, features)),
            infer,
        )
    finally:
        handle.remove()
    return [answer for each in found for answer in each]


def _answers_of(feature: Any, rows: np.ndarray) -> list[Answer]:
    """The answers of one feature from what it put into the layer: `(width,)`, or `(T, width)` for each token."""
    target = feature.targets["labels"]
    if isinstance(target, int):  # a layer that scores every token is read at the last one
        return [Answer(rows if rows.ndim == 1 else rows[len(feature) - 1], (target,))]
    if rows.ndim == 1:
        return [Answer(rows, [number for number, holds in enumerate(target) if holds])]
    return [Answer(rows[place], (tag,)) for place, tag in enumerate(target) if tag != IGNORED]
