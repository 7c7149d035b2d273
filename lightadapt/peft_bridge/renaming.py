"""Another name for an adapter, everywhere in a model."""

from __future__ import annotations

from typing import Any

from torch import nn

from lightadapt.peft_bridge.layers import containers_in, kept_by_name, layers_in


def rename_in(model: nn.Module, name: str, new: str) -> None:
    """Call an adapter by another name in all layers; tensors and the order of names stay as they are."""
    for layer in layers_in(model):
        for kept in kept_by_name(layer):
            _rename_key(kept, name, new)
        for _, container in containers_in(layer):
            if name in container._non_persistent_buffers_set:
                container._non_persistent_buffers_set.remove(name)
                container._non_persistent_buffers_set.add(new)
        for listed in ("_active_adapter", "merged_adapters"):
            names = getattr(layer, listed)
            names = [names] if isinstance(names, str) else names
            setattr(layer, listed, [new if each == name else each for each in names])


def _rename_key(kept: dict[str, Any], name: str, new: str) -> None:
    if name in kept:
        keys, values = list(kept), list(kept.values())
        keys[keys.index(name)] = new
        kept.clear()  # the same dict, which others may hold
        kept.update(zip(keys, values, strict=True))
