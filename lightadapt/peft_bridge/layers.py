"""Where adapters are in a model: their layers, and what a layer keeps by an adapter's name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

ADAPTER = "default"
"""The name of the first adapter."""
NOT_BY_NAME = {*vars(nn.Module()), "kwargs"}
"""Dicts of a layer whose keys are something else than names of adapters."""


def outer_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The model's modules with their paths, without what adapters hold inside, however many there are."""
    seen: set[int] = set()

    def walk(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
        if id(module) in seen:
            return
        seen.add(id(module))
        yield path, module
        inside = attributes_by_name(module) if isinstance(module, BaseTunerLayer) else ()
        for name, child in list(module.named_children()):
            if name not in inside:
                yield from walk(child, f"{path}.{name}" if path else name)

    return walk(model, "")


def named_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The layers of all adapters with their paths."""
    return ((path, module) for path, module in outer_modules(model) if isinstance(module, BaseTunerLayer))


def layers_in(model: nn.Module) -> list[Any]:
    """The layers of all adapters, in the order of their paths."""
    return [module for module in outer_modules_of(model) if isinstance(module, BaseTunerLayer)]


def outer_modules_of(model: nn.Module) -> list[nn.Module]:
    """The modules of `outer_modules` without their paths, which costs a fraction: each prediction asks."""
    found: dict[int, nn.Module] = {}
    rest: list[nn.Module | None] = [model]
    while rest:
        module = rest.pop()
        if module is None or id(module) in found:
            continue
        found[id(module)] = module
        if isinstance(module, BaseTunerLayer):
            inside = attributes_by_name(module)
            rest += [child for name, child in reversed(module._modules.items()) if name not in inside]
        elif module._modules:
            rest += reversed(module._modules.values())
    return list(found.values())


def is_training(model: nn.Module, names: Sequence[str] | None = None) -> bool:
    """Whether any module that computes is in training mode; other adapters than these are not gone through.

    Args:
        names: of adapters; None: those that are active.
    """
    for module in outer_modules_of(model):
        if module.training:
            return True
        if not isinstance(module, BaseTunerLayer):
            continue
        looked_at = module.active_adapters if names is None else names
        for attribute in module.adapter_layer_names:
            container = module._modules.get(attribute)
            if container is None:
                continue
            own = [each for each in map(container._modules.get, looked_at) if each is not None]
            if any(each.training or (each._modules and any(one.training for one in each.modules())) for each in own):
                return True
    return False


def attributes_by_name(layer: Any) -> tuple[str, ...]:
    """The attributes of a layer that PEFT declares to hold something for each adapter."""
    return (*layer.adapter_layer_names, *layer.other_param_names)


def names_in(layer: Any) -> set[str]:
    """The adapters that a layer holds."""
    return set(layer._all_available_adapter_names())


def holds(layer: Any, name: str) -> bool:
    """Whether a layer holds this adapter."""
    modules = layer._modules  # torch looks through three dicts before it comes to this one
    for attribute in attributes_by_name(layer):
        held = modules.get(attribute)
        held = getattr(layer, attribute) if held is None else held
        if hasattr(held, "keys") and name in held:
            return True
    return False


def containers_in(layer: Any) -> Iterator[tuple[str, nn.Module]]:
    """The modules of a layer that hold modules or tensors by the names of adapters, with their own names."""
    for attribute in attributes_by_name(layer):
        container = getattr(layer, attribute)
        if isinstance(container, nn.Module) and hasattr(container, "keys"):
            yield attribute, container


def contents(container: nn.Module) -> list[dict[str, Any]]:
    """The dicts in which torch keeps what such a module holds."""
    listed = [vars(container)["_keys"]] if isinstance(container, nn.ParameterDict) else []
    return [container._modules, container._parameters, container._buffers, *listed]


def kept_by_name(layer: Any) -> Iterator[dict[str, Any]]:
    """Every dict of a layer whose keys are names of adapters, declared or not."""
    for _, container in containers_in(layer):
        yield from contents(container)
    for attribute, value in vars(layer).items():
        if isinstance(value, dict) and attribute not in NOT_BY_NAME:
            yield value


def named_parameters_of(model: nn.Module, name: str) -> Iterator[tuple[str, nn.Parameter]]:
    """An adapter's own parameters, by their names in `model.named_parameters()`."""
    for path, layer in named_layers(model):
        for attribute in layer.adapter_layer_names:
            held = getattr(layer, attribute)
            own = held[name] if hasattr(held, "keys") and name in held else None
            place = ".".join(part for part in (path, attribute, name) if part)
            if isinstance(own, nn.Parameter):
                yield place, own
            elif isinstance(own, nn.Module):
                yield from own.named_parameters(place)


def base_layer(module: nn.Module) -> Any:
    """The module of the model itself, without the layers that PEFT wraps around it."""
    return module.get_base_layer() if isinstance(module, BaseTunerLayer) else module


def original_name(parameter: str) -> str:
    """The name that a parameter of the model has without the layers that PEFT wraps around its module."""
    return ".".join(part for part in parameter.split(".") if part != "base_layer")


def base_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of the model itself, under the names that they have without adapters."""
    inserted = tuple(
        f"{path}.{attribute}." for path, layer in named_layers(model) for attribute in attributes_by_name(layer)
    )
    state = model.state_dict()
    return {original_name(key): value for key, value in state.items() if not f"{key}.".startswith(inserted)}
