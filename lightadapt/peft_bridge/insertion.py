"""Inserting an adapter into a model in place."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, PeftConfig
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.adalora.layer import AdaLoraLayer
from peft.tuners.ia3.layer import IA3Layer
from peft.tuners.ln_tuning.layer import LNTuningLayer
from torch import nn

from lightadapt.errors import LightAdaptError
from lightadapt.machine.late import unseen_by
from lightadapt.peft_bridge.active import activate
from lightadapt.peft_bridge.adapter import Adapter
from lightadapt.peft_bridge.layers import ADAPTER, containers_in, contents, layers_in
from lightadapt.peft_bridge.lean_lora import make_lean
from lightadapt.peft_bridge.marks import mark
from lightadapt.peft_bridge.patterns import write_out

if TYPE_CHECKING:
    from transformers import PreTrainedModel

QUANTIZED = ("is_loaded_in_8bit", "is_loaded_in_4bit")
"""Attributes of a model by which PEFT tells that its linear modules may be quantized."""


def insert(model: PreTrainedModel, config: PeftConfig, name: str = ADAPTER) -> Adapter:
    """Insert an adapter into the model in place and activate it; the model keeps its class and its forward.

    No other thread may use the model meanwhile.

    Raises:
        LightAdaptError: the config does not fit the model.
    """
    config = copy.deepcopy(config)  # PEFT changes the config it is given
    write_out(config, model)
    with warnings.catch_warnings(), _others_aside(model):
        warnings.filterwarnings("ignore", "Unsupported layer type", UserWarning)  # norms are, and work
        warnings.filterwarnings("ignore", "fan_in_fan_out is set", UserWarning)  # PEFT sees by itself what it is
        warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)  # of adapters that stay
        tuner = PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type]
        # PEFT rewrites LoRA's targets for mixtures of experts by the names they had in transformers 4, which hits
        # other modules of these names, too (shared experts). It does so for models with a config only.
        place = _hide_config(model) if isinstance(config, LoraConfig) else model
        try:
            with unseen_by(tuner):
                tuner(place, config, adapter_name=name)
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
            kind = type(config).__name__
            raise LightAdaptError(f"{kind} does not fit this model ({type(error).__name__}: {error}).") from error
    mark(model, name, config)
    adapter = Adapter(model, name)
    for layer in adapter.layers:
        make_lean(layer)
        if isinstance(layer, LNTuningLayer):
            _take_out_attached(layer.ln_tuning_layers[name])
    _freeze_the_rest(adapter)
    _check_saved(adapter)
    if model.dtype != torch.float32:
        _compute_in_full(adapter)
    _set_mode(adapter, training=model.training)
    activate(model, (name,))
    return adapter


def without_weights(config: PeftConfig) -> PeftConfig:
    """A copy of the config that can be inserted into a model of the meta device: some starts compute with weights."""
    config = copy.deepcopy(config)
    if hasattr(config, "init_lora_weights"):
        config.init_lora_weights = True
    return config


@contextmanager
def _others_aside(model: nn.Module) -> Iterator[None]:
    """Layers without the adapters that they hold, inside a `with` block.

    PEFT walks several times over all that is in the model; with a hundred adapters that would take seconds.
    """
    kept = []
    for layer in layers_in(model):
        for _, container in containers_in(layer):
            if isinstance(container, (nn.ModuleDict, nn.ParameterDict)):
                kept += [(entries, dict(entries)) for entries in contents(container)]
    for entries, _ in kept:
        entries.clear()
    try:
        yield
    finally:
        for entries, before in kept:
            fresh = dict(entries)
            entries.clear()
            entries.update(before | fresh)


def _take_out_attached(norm: nn.Module) -> None:
    """Free a copy of a norm from the copies of other adapters that hang on it."""
    for layer in layers_in(norm):
        if hasattr(layer, "detach_from_host"):
            layer.detach_from_host()


def _set_mode(adapter: Adapter, *, training: bool) -> None:
    """Put what is new into the mode of the model; other adapters in the same layers are not gone through."""
    for layer in adapter.layers:
        layer.training = training
        for _, container in containers_in(layer):
            container.training = training
            for name, module in container._modules.items():
                if name == adapter.name and module is not None:
                    module.train(training)


def _freeze_the_rest(adapter: Adapter) -> None:
    """Let no gradient reach numbers that PEFT only counts with, such as the ranks of AdaLoRA."""
    for layer in adapter.layers:
        for attribute in layer.other_param_names:
            kept = getattr(layer, attribute, None)
            if isinstance(kept, nn.ParameterDict) and adapter.name in kept:
                kept[adapter.name].requires_grad_(False)


def _check_saved(adapter: Adapter) -> None:
    """Raise when PEFT would not save all that the adapter trains."""
    saved = {tensor.data_ptr() for tensor in adapter.tensors().values()}
    lost = [path for path, parameter in adapter.named_parameters() if parameter.data_ptr() not in saved]
    if lost:
        raise LightAdaptError(f"PEFT does not save {lost[0]} with the adapter, so its training would be lost.")


def _hide_config(model: nn.Module) -> nn.Module:
    """A module without a config that holds the model; the paths inside end as before."""
    holder = nn.Module()
    holder.add_module("model", model)
    for name in QUANTIZED:
        setattr(holder, name, getattr(model, name, False))
    return holder


def _compute_in_full(adapter: Adapter) -> None:
    """Let what is trained compute in float32 inside a model of half precision."""
    for layer in adapter.layers:
        if isinstance(layer, LNTuningLayer):
            _compute_in_float32(layer.ln_tuning_layers[adapter.name])
        first = (isinstance(layer, IA3Layer) and len(layer.ia3_l) == 1) or (
            isinstance(layer, AdaLoraLayer) and len(layer.lora_A) == 1
        )
        if first:  # on quantized weights these give float32
            layer.register_forward_hook(partial(_return_as, adapter.model.dtype))
        for path, buffer in layer.named_buffers():
            if not path.startswith("base_layer.") and buffer.is_floating_point():
                buffer.data = buffer.data.float()


def _compute_in_float32(norm: nn.Module) -> None:
    """A norm that is trained has float32 weights, among neighbours that compute in half precision."""
    norm.register_forward_hook(_return_as_given)
    norm.register_forward_pre_hook(_take_as_weights)
    norm.float()


def _take_as_weights(norm: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    norm.input_dtype = args[0].dtype
    return (args[0].to(next(norm.parameters()).dtype), *args[1:])


def _return_as_given(norm: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
    return output.to(norm.input_dtype)


def _return_as(dtype: torch.dtype, module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
    return output.to(dtype)
