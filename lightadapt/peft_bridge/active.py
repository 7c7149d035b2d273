"""Which adapters compute: an ordered set of names, set for a whole model here and read by every layer here.

What a layer of PEFT computes is told by two private attributes of it. PEFT's own ways to set them also decide what is
trained, which is another question: what is set here leaves `requires_grad` as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from peft.tuners.ln_tuning.layer import LNTuningLayer
from torch import nn

from lightadapt.errors import LightAdaptError
from lightadapt.peft_bridge.layers import holds, layers_in


def activate(model: nn.Module, names: Sequence[str]) -> None:
    """Let each layer apply those of these adapters that it holds, in this order, and no other; none: the base alone.

    Adapters of different kinds on the same module are applied in the order in which they were inserted.

    Raises:
        LightAdaptError: a layer cannot apply them together; nothing is changed.
    """
    layers = [(layer, [name for name in names if holds(layer, name)]) for layer in layers_in(model)]
    for layer, held in layers:
        if isinstance(layer, LNTuningLayer) and held:
            _check_alone(layer, held, names)
    for layer, held in layers:
        # Set past torch, which would look whether they are tensors, at each of hundreds of layers.
        state = vars(layer)
        if names:  # transformers asks the first layer that it meets which adapters are active
            state["_active_adapter"] = held or list(names)
        state["_disable_adapters"] = not held


@contextmanager
def switched_off(model: nn.Module) -> Iterator[None]:
    """The base alone inside a `with` block, whatever computes before and behind it."""
    before = [(layer, layer._disable_adapters) for layer in layers_in(model)]
    for layer, _ in before:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer, disabled in before:
            layer._disable_adapters = disabled


def active_in(layer: Any) -> tuple[str, ...]:
    """The adapters that a layer applies now, in order; none where it is switched off or has one in the weights."""
    if layer.disable_adapters or layer.merged_adapters:
        return ()
    names = layer.active_adapters
    if len(names) == 1:  # as it is in each of dozens of layers of each forward pass
        return (names[0],) if holds(layer, names[0]) else ()
    return tuple(name for name in names if holds(layer, name))


def _check_alone(layer: LNTuningLayer, held: Sequence[str], names: Sequence[str]) -> None:
    """Raise where an adapter takes the place of a norm that another one works on, too."""
    below = [name for other in layers_in(layer.base_layer) for name in names if holds(other, name)]
    others = [name for name in (*held[1:], *below) if name != held[0]]
    if others:
        raise LightAdaptError(
            f"The adapters {held[0]!r} and {others[0]!r} cannot compute together: {held[0]!r} has a trained norm of "
            "its own where the other one works. Use one of them at a time."
        )
