"""Taking adapters out of a model, until it is what it was before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from lightadapt.peft_bridge.layers import holds, kept_by_name, layers_in, names_in, outer_modules


def remove_from(model: nn.Module, name: str) -> None:
    """Take an adapter out of every layer, and then the layers that hold none any more out of the model."""
    for layer in layers_in(model):
        if holds(layer, name):
            _delete(layer, name)
    unwrap_empty(model)


def unwrap_empty(model: nn.Module) -> None:
    """Take the layers that hold no adapter out of the model.

    Of models that share a base, each has to be asked: where they do not share the module above a layer, each has the
    layer for itself.
    """
    _unwrap(model, lambda layer: not names_in(layer))


def unwrap_all(model: nn.Module) -> None:
    """Take the layers of all adapters out of the model."""
    _unwrap(model, lambda layer: True)


def _unwrap(model: nn.Module, out: Callable[[Any], bool]) -> None:
    for _, parent in list(outer_modules(model)):
        for path, child in list(parent._modules.items()):
            if not isinstance(child, BaseTunerLayer) or not out(child):
                continue
            if hasattr(child, "detach_from_host"):
                child.detach_from_host()
                continue
            below: Any = child
            while isinstance(below, BaseTunerLayer) and out(below):
                below = below.base_layer
            setattr(parent, path, below)


def _delete(layer: Any, name: str) -> None:
    """Take an adapter out of a layer; which others compute stays, and so does what is trained."""
    layer._active_adapter = [each for each in layer.active_adapters if each != name]
    layer._disable_adapters = layer.disable_adapters or not layer._active_adapter
    layer.delete_adapter(name)
    for kept in kept_by_name(layer):
        kept.pop(name, None)
