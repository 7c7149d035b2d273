"""What the layers of a model hold for some adapters, looked up once for many passes in which they compute together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from lightadapt.peft_bridge.grouped import LowRank, Updates, stack_updates
from lightadapt.peft_bridge.layers import holds, is_training, layers_in
from lightadapt.peft_bridge.lean_lora import LeanLinear, is_lean

KEPT_BYTES = 2**28
"""The most that copies of low-rank updates may take; those of the layers beyond it are made anew in each pass."""


class Stacks:
    """The layers of models that share a backbone, with their adapters of some names, as they are when they are asked.

    Whoever has one for more than a pass throws it away when an adapter comes, goes, gets another name or learns.

    Attributes:
        names: of the adapters.
        room: bytes that further copies of low-rank updates may take.
    """

    def __init__(self, names: Iterable[str], room: int | None = None) -> None:
        """Look up nothing yet.

        Args:
            room: bytes that copies of low-rank updates may take from pass to pass; None: the usual number.
        """
        self.names = tuple(dict.fromkeys(names))
        self.room = KEPT_BYTES if room is None else room
        self._calm: set[int] = set()
        self._layers: dict[int, list[HeldLayer]] = {}
        self._known: dict[int, HeldLayer] = {}

    def layers_of(self, model: nn.Module) -> list[HeldLayer]:
        """The layers of all adapters in a model, in the order of their paths."""
        if id(model) not in self._layers:
            found = layers_in(model)
            fresh = [layer for layer in found if id(layer) not in self._known]
            self._known |= {id(layer): HeldLayer(layer, self) for layer in fresh}
            self._layers[id(model)] = [self._known[id(layer)] for layer in found]
        return self._layers[id(model)]

    def refresh(self, name: str) -> None:
        """Take over the tensors of an adapter, which hold other numbers by now, and are of the same shapes."""
        for held in self._known.values():
            held.refresh(name)

    def is_training(self, model: nn.Module) -> bool:
        """Whether any module of a model that computes with these adapters is in training mode."""
        if id(model) in self._calm:
            return False
        if is_training(model, self.names):
            return True
        self._calm.add(id(model))
        return False


class HeldLayer:
    """A layer, and which adapters it holds.

    Attributes:
        names: of those adapters.
        lean: those with which it does no more than the formula of LoRA says.
        hangs: whether it is one of our own tuners', which hang on a module instead of wrapping it.
    """

    def __init__(self, layer: Any, stacks: Stacks) -> None:
        """Ask the layer."""
        self.layer = layer
        self.names = frozenset(name for name in stacks.names if holds(layer, name))
        plain = isinstance(layer, LeanLinear)
        self.lean = tuple(name for name in stacks.names if plain and name in self.names and is_lean(layer, name))
        self.hangs = hasattr(layer, "mixing")
        self._stacks = stacks
        self._updates: dict[tuple[torch.dtype, torch.dtype], Updates] = {}

    def updates(self, of_input: torch.dtype, of_result: torch.dtype) -> Updates:
        """A and B of all adapters in `lean`, in that order.

        Args:
            of_input: the dtype of what the layer is given.
            of_result: the dtype of what it gives.
        """
        known = self._updates.get((of_input, of_result))
        if known is None:
            known = stack_updates([self._update_of(name) for name in self.lean], of_input, of_result)
            if known.bytes <= self._stacks.room:
                self._stacks.room -= known.bytes
                self._updates[of_input, of_result] = known
        return known

    @torch.no_grad()
    def refresh(self, name: str) -> None:
        """Take over A and B of an adapter."""
        if name in self.lean:
            for updates in self._updates.values():
                updates.write(self.lean.index(name), self._update_of(name))

    def _update_of(self, name: str) -> LowRank:
        down, up = (self.layer._modules[attribute]._modules[name] for attribute in ("lora_A", "lora_B"))
        return down._parameters["weight"], up._parameters["weight"], self.layer.scaling[name]
