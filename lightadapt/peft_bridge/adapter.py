"""An adapter that is in a model: what it is made of, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import get_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from lightadapt.errors import LightAdaptError
from lightadapt.machine.processes import number_of_processes, shard_like
from lightadapt.peft_bridge import folding, marks, removal, renaming
from lightadapt.peft_bridge.configs import write_config
from lightadapt.peft_bridge.layers import (
    ADAPTER,
    containers_in,
    contents,
    holds,
    layers_in,
    named_layers,
    named_parameters_of,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TENSORS_AND_MODULES = ("_modules", "_parameters", "_buffers", "_keys")
"""The dicts in which torch keeps what a module holds."""


@dataclass(frozen=True)
class Adapter:
    """The adapter of one name in a model, in all layers that hold it.

    A method may insert nothing; then there are no layers, and the rest follows from that. Other adapters may be in the
    same layers, and cost nothing here.
    """

    model: PreTrainedModel
    name: str = ADAPTER

    @property
    def layers(self) -> list[Any]:
        """The layers that hold it."""
        return [layer for layer in layers_in(self.model) if holds(layer, self.name)]

    @property
    def modules(self) -> list[str]:
        """The paths of the modules that it works on."""
        return [path for path, _ in self.named_layers()]

    @property
    def parameters(self) -> set[str]:
        """The names in `model.named_parameters()` of its own parameters."""
        return {name for name, _ in self.named_parameters()}

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Its own parameters, by their names in `model.named_parameters()`."""
        return named_parameters_of(self.model, self.name)

    # ---- its tensors, under the names of PEFT's files without their prefix

    def tensors(self) -> dict[str, torch.Tensor]:
        """Its tensors, which share their memory with the model; none when nothing is inserted."""
        return {self._without_foreign_layers(key): tensor for key, tensor in self._tensors_in_place().items()}

    def load_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Write tensors named as by `tensors` into it."""
        with torch.no_grad():  # PEFT's own way to load renames what it takes for a mixture of experts of transformers 4
            for key, place in self._tensors_in_place().items():
                place.copy_(shard_like(place, tensors[self._without_foreign_layers(key)]))

    def write_config(
        self, path: Path, modules: Sequence[str], base: str | None, revision: str | None, task_type: str | None = None
    ) -> None:
        """Write adapter_config.json such that stock PEFT restores the adapter and `modules` (head, trained blocks)."""
        config = self.model.peft_config[self.name] if self.modules else None
        write_config(path, config, modules, base, revision, task_type)

    # ---- in the weights

    def check_foldable(self, *, onto_these: bool) -> None:
        """Try to fold one layer of each kind, in a copy.

        Args:
            onto_these: whether it is to be folded into the weights of this model; else what PEFT can do with other
                weights is not tried.

        Raises:
            NotImplementedError: the adapter is not a change of weights.
        """
        folding.check_foldable(self.layers, self.name, onto_these=onto_these)

    def fold(self) -> None:
        """Add the adapter to the weights and take all adapters out of the model, in place.

        Raises:
            NotImplementedError: the adapter is not a change of weights.
        """
        folding.fold(self.layers, self.name)
        removal.unwrap_all(self.model)
        marks.unmark_all(self.model)

    def folded(self) -> AbstractContextManager[None]:
        """The adapter in the weights inside a `with` block; then they are, bit for bit, those of before.

        The caller sees to it that no other thread uses these weights meanwhile.
        """
        return folding.folded(self.layers, self.name)

    def folded_if_it_pays(self, tokens: int) -> AbstractContextManager[None]:
        """The adapter in the weights for a prediction of so many tokens, where that is exact and has room.

        The caller sees to it that no other thread uses these weights meanwhile, in whichever model they are.
        """
        return folding.folded_if_it_pays(self.model, self.name, tokens)

    # ---- its place in the model

    def remove(self) -> None:
        """Take it out of the model in place; a layer that holds no other adapter goes with it.

        What its start wrote into the weights of the base stays there (PiSSA, OLoRA and CorDA do so). No other thread
        may use the model meanwhile.
        """
        removal.remove_from(self.model, self.name)
        marks.unmark(self.model, self.name)

    def rename(self, new: str) -> Adapter:
        """Give it another name in the model; nothing of what it computes changes.

        Raises:
            LightAdaptError: the model holds an adapter of that name.
        """
        if new == self.name:
            return self
        if any(holds(layer, new) for layer in layers_in(self.model)):
            raise LightAdaptError(f"rename({new!r}): the model holds an adapter of that name. Choose another.")
        renaming.rename_in(self.model, self.name, new)
        marks.rename_mark(self.model, self.name, new)
        return Adapter(self.model, new)

    # ---- the details

    def named_layers(self) -> list[tuple[str, Any]]:
        return [(path, layer) for path, layer in named_layers(self.model) if holds(layer, self.name)]

    def _tensors_in_place(self) -> dict[str, torch.Tensor]:
        """Its tensors as PEFT names them, with the layers of other adapters in their paths."""
        layers = self.named_layers()
        if not layers:
            return {}
        if number_of_processes() > 1:
            self.model.state_dict()  # of a model in parts, this gives back what was gathered to compute
        # PEFT looks through all that is in a model, and tells adapters apart by the model's own list, which knows none
        # of those that share its base: it is shown a model of this adapter alone.
        alone = nn.Module()
        for path, layer in layers:
            _put(alone, path, _with_one_adapter(layer, self.name))
        alone.peft_config = {self.name: self.model.peft_config[self.name]}  # type: ignore[assignment]
        state = alone.state_dict()
        return dict(get_peft_model_state_dict(alone, state, adapter_name=self.name, save_embedding_layers=False))

    def _without_foreign_layers(self, key: str) -> str:
        """The key as it would be without the layers that other adapters have wrapped around the module."""
        kept: list[str] = []
        module: Any = self.model
        for part in key.split("."):
            foreign = part == "base_layer" and isinstance(module, BaseTunerLayer) and not holds(module, self.name)
            kept += [] if foreign else [part]
            module = getattr(module, part, None)
        return ".".join(kept)


def _with_one_adapter(layer: Any, name: str) -> nn.Module:
    """A stand-in for a layer that holds the tensors of one adapter, the same ones, and nothing else."""
    inside = dict(layer._modules)
    inside.pop("base_layer", None)
    for attribute, container in containers_in(layer):
        inside[attribute] = _stand_in(container)
        for own, entries in zip(contents(inside[attribute]), contents(container), strict=True):
            own.update({name: entries[name]} if name in entries else {})
    shown: nn.Module = _stand_in(layer)
    shown._modules.update(inside)
    return shown


def _stand_in(module: nn.Module) -> Any:
    """A module of the same class and with the same settings, which holds nothing yet."""
    shown = object.__new__(type(module))
    empty: dict[str, Any] = {name: {} for name in TENSORS_AND_MODULES if name in vars(module)}
    vars(shown).update({**vars(module), **empty})
    return shown


def _put(model: nn.Module, path: str, module: nn.Module) -> None:
    """Place a module under a path, on the way there modules that hold nothing else."""
    *above, last = path.split(".")
    for part in above:
        if part not in model._modules:
            model.add_module(part, nn.Module())
        model = model.get_submodule(part)
    model.add_module(last, module)
