"""Where the rows of new outputs start in a head that has learned others: at the means of what they are to answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from lightadapt.adaptation.layer_inputs import Answer, answers_of
from lightadapt.adaptation.runner import Runner
from lightadapt.heads.outputs import output_layer


def start_rows(runner: Runner, features: Sequence[Any], new: Sequence[str]) -> None:
    """Let the rows of new outputs point to where the answers of these features with them lie.

    A row is the mean of what goes into the output layer for that output, less that of all features, and as long as the
    other rows are on average (as in Qi et al. 2018, "Low-Shot Learning with Imprinted Weights"); its bias is such that
    the mean input gives what it gives the others on average. A head without such a layer, and an output of no feature,
    stay as they are. Prototypes are the means themselves.

    Args:
        features: with targets, by the outputs that the head has now.
    """
    head, names = runner.adaptation.head, list(runner.outputs)
    layer = output_layer(head.modules, len(names))
    if layer is None or not new:
        return
    answers = answers_of(runner, layer, features)
    numbers = [names.index(name) for name in new]
    means = {number: mean for number in numbers if (mean := _mean_of(answers, number)) is not None}
    if not means:
        return
    if head.prototypes is not None:
        with torch.no_grad():
            for number, mean in means.items():
                head.prototypes.rows[number] = torch.as_tensor(mean).to(head.prototypes.rows)
        return
    others = [number for number in range(len(names)) if number not in numbers]
    if others:
        _start_linear(layer, means, others, np.stack([each.inputs for each in answers]).mean(0))


def _mean_of(answers: Sequence[Answer], output: int) -> np.ndarray | None:
    mine = [each.inputs for each in answers if output in each.outputs]
    return np.stack(mine).mean(0) if mine else None


def _start_linear(layer: nn.Linear, means: dict[int, np.ndarray], others: Sequence[int], centre: np.ndarray) -> None:
    """Rows of the usual length from the centre to the means; biases with which they give the usual at the centre."""
    with torch.no_grad():
        middle = torch.as_tensor(centre).to(layer.weight)
        length = layer.weight[others].norm(dim=1).mean()
        usual = layer(middle)[others].mean()
        for number, mean in means.items():
            way = torch.as_tensor(mean).to(layer.weight) - middle
            layer.weight[number] = length * way / way.norm().clamp_min(1e-12)
            if layer.bias is not None:
                layer.bias[number] = usual - layer.weight[number] @ middle
