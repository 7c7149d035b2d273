"""Adapters in the weights, for good or for the time of a prediction."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from lightadapt.machine.hardware import free_memory
from lightadapt.machine.processes import is_sharded
from lightadapt.peft_bridge.layers import ADAPTER, layers_in, layers_of
from lightadapt.peft_bridge.lean_lora import LeanLinear

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FOLD_FROM = 2_000
"""Tokens from which it pays to fold an adapter into the weights for a prediction."""
FOLDED_SHARE = 0.25
"""Of the memory that is free, what the folded weights take at most."""
_LOCKS: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
"""While one thread has an adapter folded in, no other may use the model."""


def fold(model: PreTrainedModel, name: str = ADAPTER) -> None:
    """Add the adapter to the weights and take all adapters out, in place.

    Raises:
        NotImplementedError: the adapter is no change of weights.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Merge lora module to", UserWarning)  # rounding: it is measured afterwards
        for layer in layers_of(model, name):
            layer.merge(safe_merge=True, adapter_names=[name])
    for layer in layers_in(model):
        if hasattr(layer, "detach_from_host"):
            layer.detach_from_host()
    while wrapped := [path for path, module in model.named_modules() if isinstance(module, BaseTunerLayer)]:
        model.set_submodule(wrapped[0], model.get_submodule(wrapped[0]).get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config
    model._hf_peft_config_loaded = False


@contextmanager
def folded(model: nn.Module, name: str = ADAPTER) -> Iterator[None]:
    """The adapter in the weights for the time of a `with` block; then they are, bit for bit, those of before."""
    layers = layers_of(model, name)
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


def size_of_folding(model: nn.Module, name: str = ADAPTER) -> int:
    """Bytes of the weights that `folded` makes; 0 where what the model gives would differ by more than rounding."""
    layers = layers_of(model, name)
    if not all(type(layer) is LeanLinear and layer.active_adapters == [name] for layer in layers):
        return 0
    if any(layer.disable_adapters or layer.merged_adapters for layer in layers):
        return 0
    weights = [layer.get_base_layer().weight for layer in layers]
    tied = len({id(weight) for weight in weights}) < len(weights)  # the update would count twice
    rounded = any(weight.dtype != torch.float32 for weight in weights)
    return 0 if tied or rounded else sum(weight.nbytes for weight in weights)


@contextmanager
def folded_if_it_pays(model: nn.Module, name: str, tokens: int) -> Iterator[None]:
    """The adapter in the weights for a prediction of so many tokens, where that is exact and has room.

    One thread at a time, for any number of tokens.
    """
    with _LOCKS.setdefault(model, RLock()):
        worth = tokens >= FOLD_FROM and not is_sharded(model)
        size = size_of_folding(model, name) if worth else 0
        fits = 0 < size <= FOLDED_SHARE * free_memory(next(model.parameters()).device)
        with folded(model, name) if fits else nullcontext():
            yield


def check_foldable(model: nn.Module, name: str = ADAPTER, *, onto_these: bool) -> None:
    """Try to fold one layer of each kind, in a copy.

    Args:
        onto_these: whether it is to be folded into the weights of this model; else what PEFT can do with other weights
            is not tried.

    Raises:
        NotImplementedError: the adapter is no change of weights.
    """
    kinds = {type(layer): layer for layer in layers_of(model, name)}
    for layer in kinds.values():
        if not onto_these and not hasattr(layer, "detach_from_host"):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT warns of rounding, which is measured elsewhere
            try:
                copy.deepcopy(layer).merge(adapter_names=[name])
            except (AttributeError, RuntimeError, TypeError, ValueError) as error:  # on weights that it does not know
                raise NotImplementedError(str(error).partition("\n")[0]) from error
