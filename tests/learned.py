"""The tensors that an adaptation trains: reading them, moving them from their start, comparing them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import torch
from torch import nn
from transformers import TrainerCallback

import lightadapt as la


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def state_of(adapted: la.Adapted) -> dict[str, torch.Tensor]:
    """What is trained, as it is now."""
    return {name: parameter.detach().clone() for name, parameter in trainable(adapted.model).items()}


def stir(parameters: Iterable[torch.Tensor], size: float = 0.1, seed: int = 0) -> None:
    """Move tensors from where they are as if they had learned, by the same amount each time."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            parameter += torch.randn(parameter.shape, generator=generator) * size


def as_learned(adapted: la.Adapted) -> la.Adapted:
    """The adaptation, whose head counts as one that has learned something, though it is as it was made."""
    adapted.runner.adaptation.head.mark_learned()
    return adapted


def without_dropout(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def assert_equal(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    """The same tensors bit for bit, of which there is at least one."""
    assert found.keys() == expected.keys() != set()
    assert [name for name, value in found.items() if not torch.equal(value, expected[name])] == []


def near(one: Any, other: Any) -> bool:
    """Equal but for rounding, in numbers wherever they are."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(near(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(near, one, other))
    return one == pytest.approx(other, abs=1e-4) if isinstance(one, float) else one == other


class StopAt(TrainerCallback):
    """Ends a run as a crash would, after some steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt
