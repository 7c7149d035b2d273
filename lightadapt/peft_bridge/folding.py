"""Adapters in the weights, for good or for the time of a prediction."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from lightadapt.machine.hardware import free_memory
from lightadapt.machine.processes import is_sharded
from lightadapt.peft_bridge.active import active_in
from lightadapt.peft_bridge.layers import holds, layers_in
from lightadapt.peft_bridge.lean_lora import LeanLinear

FOLD_FROM = 2_000
"""Tokens from which it pays to fold an adapter into the weights for a prediction."""
FOLDED_SHARE = 0.25
"""The share of the free memory that the folded weights take at most."""


def fold(layers: Sequence[Any], name: str) -> None:
    """Add the adapter to the weights of its layers, for good.

    Raises:
        NotImplementedError: the adapter is not a change of weights.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Merge lora module to", UserWarning)  # rounding: it is measured afterwards
        for layer in layers:
            layer.merge(safe_merge=True, adapter_names=[name])


@contextmanager
def folded(layers: Sequence[Any], name: str) -> Iterator[None]:
    """The adapter in the weights inside a `with` block; then they are, bit for bit, those of before."""
    before = [(tensor, tensor.data) for layer in layers for tensor in layer.get_base_layer().parameters(recurse=False)]
    try:
        for layer in layers:
            layer.merge(safe_merge=True, adapter_names=[name])  # into new tensors
        yield
    finally:
        for layer in layers:
            layer.merged_adapters.clear()
        for tensor, data in before:
            tensor.data = data


def size_of_folding(layers: Sequence[Any], name: str) -> int:
    """Bytes of the weights that `folded` makes; 0 where what the model gives would differ by more than rounding."""
    if not all(type(layer) is LeanLinear and active_in(layer) == (name,) for layer in layers):
        return 0
    weights = [layer.get_base_layer().weight for layer in layers]
    tied = len({id(weight) for weight in weights}) < len(weights)  # the update would count twice
    rounded = any(weight.dtype != torch.float32 for weight in weights)
    return 0 if tied or rounded else sum(weight.nbytes for weight in weights)


@contextmanager
def folded_if_it_pays(model: nn.Module, name: str, tokens: int) -> Iterator[None]:
    """The adapter in the weights for a prediction of so many tokens, where that is exact and has room."""
    worth = tokens >= FOLD_FROM and not is_sharded(model)
    layers = [layer for layer in layers_in(model) if holds(layer, name)] if worth else []
    size = size_of_folding(layers, name) if layers else 0
    fits = 0 < size <= FOLDED_SHARE * free_memory(next(model.parameters()).device)
    with folded(layers, name) if fits else nullcontext():
        yield


def check_foldable(layers: Sequence[Any], name: str, *, onto_these: bool) -> None:
    """Try to fold one layer of each kind, in a copy.

    Raises:
        NotImplementedError: the adapter is not a change of weights.
    """
    for layer in {type(layer): layer for layer in layers}.values():
        if not onto_these and not hasattr(layer, "detach_from_host"):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT warns of rounding, which is measured elsewhere
            try:
                copy.deepcopy(layer).merge(adapter_names=[name])
            except (AttributeError, RuntimeError, TypeError, ValueError) as error:  # on weights that it does not know
                raise NotImplementedError(str(error).partition("\n")[0]) from error
