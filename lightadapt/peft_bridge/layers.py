"""Where adapters are in a model: their layers, their parameters and tensors, and which of them works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from peft import get_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from lightadapt.machine.processes import shard_like

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAPTER = "default"
"""The name of the first adapter."""


def layers_in(model: nn.Module) -> list[Any]:
    """The layers of all adapters."""
    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


def layers_of(model: nn.Module, name: str) -> list[Any]:
    """The layers that hold this adapter."""
    return [layer for layer in layers_in(model) if name in names_in(layer)]


def names_in(layer: Any) -> set[str]:
    """The adapters that a layer holds."""
    return set(layer._all_available_adapter_names())


def adapted_modules(model: nn.Module, name: str = ADAPTER) -> list[str]:
    """The paths of the modules that the adapter works on."""
    return [
        path
        for path, module in model.named_modules()
        if isinstance(module, BaseTunerLayer) and name in names_in(module)
    ]


def use(model: nn.Module, name: str | None) -> None:
    """Let the layers that hold this adapter apply it, and all others none; None: the base model alone."""
    for layer in layers_in(model):
        if name in names_in(layer):
            layer.enable_adapters(True)
            layer.set_adapter(name)
        else:
            layer.enable_adapters(False)


def adapter_tensors(model: PreTrainedModel, name: str = ADAPTER) -> dict[str, torch.Tensor]:
    """The adapter's tensors under the names of PEFT's files, without their prefix; none without an adapter."""
    return {_without_foreign_layers(model, key, name): tensor for key, tensor in tensors_in(model, name).items()}


def tensors_in(model: PreTrainedModel, name: str) -> dict[str, torch.Tensor]:
    """The adapter's tensors as PEFT names them, with the layers of other adapters in their paths."""
    if not adapted_modules(model, name):
        return {}
    others = tuple(  # PEFT tells adapters apart by the model's own list, which knows none of those that share its base
        f"{path}.{attribute}.{other}"
        for path, module in model.named_modules()
        if isinstance(module, BaseTunerLayer)
        for attribute in (*module.adapter_layer_names, *module.other_param_names)
        for other in names_in(module) - {name}
    )
    state = model.state_dict()
    if others:
        state = {key: value for key, value in state.items() if not _lies_in(key, others)}
    return dict(get_peft_model_state_dict(model, state, adapter_name=name, save_embedding_layers=False))


def _without_foreign_layers(model: nn.Module, key: str, name: str) -> str:
    """The key as it would be without the layers that other adapters have wrapped around the module."""
    kept: list[str] = []
    module: Any = model
    for part in key.split("."):
        foreign = part == "base_layer" and isinstance(module, BaseTunerLayer) and name not in names_in(module)
        kept += [] if foreign else [part]
        module = getattr(module, part, None)
    return ".".join(kept)


def _lies_in(key: str, paths: Sequence[str]) -> bool:
    return any(key == path or key.startswith(f"{path}.") for path in paths)


def adapter_parameters(model: nn.Module, name: str = ADAPTER) -> set[str]:
    """The names in `named_parameters()` of the adapter's own parameters."""
    names = set()
    for path, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            own = [f"{path}.{attribute}.{name}" for attribute in module.adapter_layer_names]
            inside = {f"{path}.{inner}" for inner, _ in module.named_parameters()}
            names |= {each for each in inside if _lies_in(each, own)}
    return names


def base_layer(module: nn.Module) -> Any:
    """The module of the model itself, without the layers that PEFT wraps around it."""
    return module.get_base_layer() if isinstance(module, BaseTunerLayer) else module


def original_name(parameter: str) -> str:
    """The name that a parameter of the model has without the layers that PEFT wraps around its module."""
    return ".".join(part for part in parameter.split(".") if part != "base_layer")


def load_adapter_tensors(model: PreTrainedModel, tensors: Mapping[str, torch.Tensor], name: str = ADAPTER) -> None:
    """Write tensors named as by `adapter_tensors` into the inserted adapter."""
    with torch.no_grad():  # PEFT's own way to load renames what it takes for a mixture of experts of transformers 4
        for key, place in tensors_in(model, name).items():
            place.copy_(shard_like(place, tensors[_without_foreign_layers(model, key, name)]))


def base_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of the model itself, under the names that they have without adapters."""
    inserted = [
        f"{path}.{attribute}"
        for path, layer in model.named_modules()
        if isinstance(layer, BaseTunerLayer)
        for attribute in (*layer.adapter_layer_names, *layer.other_param_names)
    ]
    return {original_name(key): value for key, value in model.state_dict().items() if not _lies_in(key, inserted)}
