"""The frozen weights of a base model in memory, on which any number of adaptations hang.

Each adaptation has a model of its task's own class. Their frozen modules are the same objects: whatever is inserted
into one of them is there for all, and what computes is chosen by name (`peft_bridge.activate`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from threading import RLock
from typing import Any
from weakref import WeakSet

import torch
from torch import nn
from transformers import PreTrainedModel

from lightadapt import peft_bridge
from lightadapt.anatomy import Anatomy
from lightadapt.anatomy.auto_classes import mapped_class
from lightadapt.base.blueprint import Blueprint
from lightadapt.base.design import Design
from lightadapt.base.plain_attention import keep_attention_plain
from lightadapt.base.quantization import quantization_of, quantized_linears
from lightadapt.base.quantized_modules import mark_quantized
from lightadapt.base.source import Source, stray_tensors, tensor_names
from lightadapt.base.weights import (
    Base,
    fingerprint_of,
    fit_head,
    key_mapping,
    load_as,
    load_base,
)
from lightadapt.errors import LightAdaptError
from lightadapt.machine.pages import keep_pages

LIKE_QUANTIZED = ("hf_quantizer", "is_quantized", "quantization_method")
"""What transformers notes on a model that it loaded quantized."""


PATIENCE = 2.0
"""Seconds that a fork waits for what other threads compute, so that the child gets weights in no state between two."""


class Backbone:
    """The weights that adaptations share; made with the first of them, and gone with the last.

    Attributes:
        source: where the weights came from.
        dtype: of the frozen weights that are not quantized.
        device: where they are.
        quantization: the form of the frozen projections of the blocks.
        lock: held while anything computes, since what computes is a state of the shared modules.
    """

    def __init__(self, base: Base) -> None:
        """Take over the weights of a base that has been loaded."""
        self.source: Source = base.blueprint.source
        self.dtype = base.design.dtype
        self.quantization = base.design.quantization
        self.lock = RLock()
        _alive.add(self)
        self._bases: list[Base] = [base]
        self._first = base.blueprint.anatomy
        self._tensors: dict[str, torch.Tensor] = {}
        """Everything frozen, under the names that the first model has for it."""
        self._note_tensors(base.model, base.design, base.head)
        if self.device.type == "cpu":
            keep_pages()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._bases[0].model.device  # type: ignore[no-any-return]

    def check_shareable(self) -> None:
        """Raise when the weights belong to one model alone.

        Raises:
            LightAdaptError: the model was given with its head, and is used in place.
        """
        first = self._bases[0]
        if first.blueprint.ready is not None:
            raise LightAdaptError(
                f"The {type(first.model).__name__} given to adapt(…) carries its own head and is used in place. To "
                "share a base, give adapt(…) its name, its folder or its bare backbone."
            )

    def join(self, design: Design) -> Base:
        """Another task's model on these weights; nothing that is here already is read again.

        What the checkpoint has and no model here, such as a head or a pooler, is read from its file alone.

        Raises:
            LightAdaptError: part of the backbone would stay random.
        """
        if self._is_read_in_parts(design):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(design.seed)
                model, fresh = self._model_of(design)
            head, trained_head = fit_head(model, fresh, design)
            model.to(design.device)  # type: ignore[arg-type]
            keep_attention_plain(model, design)
        else:
            whole = load_base(design)
            model, head, trained_head = whole.model, whole.head, whole.trained_head
        model.requires_grad_(False).eval()
        self._note_tensors(model, design, head)
        fingerprint = fingerprint_of(model, head, design) if design.quantization is None else {}
        self._share_with(model, design, head)
        if design.quantization is not None:
            self._mark_like_first(model, design)
            fingerprint = fingerprint_of(model, head, design)  # of the packed weights, which have come just now
        base = Base(model, design, head, trained_head, fingerprint)
        self._bases.append(base)
        return base

    def leave(self, base: Base) -> None:
        """Let go of an adaptation's model; the shared modules live on in the others."""
        self._bases.remove(base)
        for other in self._bases:  # what holds no adapter any more, in modules that a model has for itself
            peft_bridge.unwrap_empty(other.model)

    def _note_tensors(self, model: PreTrainedModel, design: Design, head: frozenset[str]) -> None:
        """Remember what a model has that is frozen; what is inserted is none of it."""
        own, theirs = _prefixes(design.blueprint.anatomy, self._first)
        for name, tensor in peft_bridge.base_tensors(model).items():
            if name.startswith(own) and name not in head:
                self._tensors.setdefault(f"{theirs}{name.removeprefix(own)}", tensor)

    def _share_with(self, model: PreTrainedModel, design: Design, head: frozenset[str]) -> None:
        """Put the frozen modules that are here in the place of those of a model."""
        left = design.blueprint.anatomy.parameters.keys() - head
        for other in self._donors():
            left = left - share_modules(model, design.blueprint.anatomy, left, other)
            if not left:
                return

    def _donors(self) -> list[Base]:
        """The models here, one for each class and head: others of the same kind have the same modules to share."""
        return list({(type(base.model), base.head): base for base in reversed(self._bases)}.values())

    def _is_read_in_parts(self, design: Design) -> bool:
        """Whether what is not here yet can be read apart from what is."""
        source = self.source
        if source.instance is None and source.state_dict is None and not tensor_names(source):
            return False  # a checkpoint of another format than safetensors
        packed = quantization_of(source.config) is not None
        return not packed or not _head_names(design) & {name.partition(".")[0] for name in tensor_names(source)}

    def _model_of(self, design: Design) -> tuple[PreTrainedModel, frozenset[str]]:
        """A model of the task's class around the tensors that are here, and its parameters that were nowhere."""
        blueprint, anatomy = design.blueprint, design.blueprint.anatomy
        own, theirs = _prefixes(anatomy, self._first)
        known = {
            f"{own}{name.removeprefix(theirs)}": tensor
            for name, tensor in self._tensors.items()
            if name.startswith(theirs)
        }
        if design.quantization is not None:  # packed weights fit into no plain module; theirs take its place at the end
            for path in quantized_linears(anatomy, design.quantization):
                empty = torch.zeros((), dtype=design.dtype, device=design.device)
                known[f"{path}.weight"] = empty.expand(anatomy.parameters[f"{path}.weight"])
        missing = anatomy.parameters.keys() - known.keys() - anatomy.ties.keys()
        strays = stray_tensors(blueprint.source, _spellings(blueprint, known)) if missing else {}
        config = blueprint.fresh_config()
        config.__dict__.pop("quantization_config", None)
        source = replace(blueprint.source, instance=None, state_dict={**strays, **known})
        return load_as(replace(blueprint, source=source, config=config), design.dtype, key_mapping(blueprint), {})

    def _mark_like_first(self, model: Any, design: Design) -> None:
        first: Any = self._bases[0].model
        for name in LIKE_QUANTIZED:
            if name in vars(first):
                setattr(model, name, getattr(first, name))
        if hasattr(first.config, "quantization_config"):
            model.config.quantization_config = first.config.quantization_config
        assert design.quantization is not None
        mark_quantized(model, design.quantization)


def share_modules(model: PreTrainedModel, anatomy: Anatomy, frozen: Set[str], other: Base) -> set[str]:
    """Replace frozen modules of a model by those of another one, with whatever is inserted there; what is shared then.

    What is trained with the task stays with its model: the head, and a pooler that was not in the checkpoint.

    Args:
        frozen: parameters that are to be shared, as far as the other model has them and does not train them.
    """
    own, theirs = _prefixes(anatomy, other.blueprint.anatomy)
    names = _Names(
        ours=_below(own, anatomy.parameters),
        theirs=_below(theirs, other.blueprint.anatomy.parameters),
        shared=_below(own, frozen) & _below(theirs, other.blueprint.anatomy.parameters.keys() - other.head),
    )
    _share(model.get_submodule(own[:-1]), other.model.get_submodule(theirs[:-1]), "", names)
    return {f"{own}{name}" for name in names.shared}


@dataclass(frozen=True)
class _Names:
    """Parameters of two models below their backbones' prefixes."""

    ours: set[str]
    theirs: set[str]
    shared: set[str]
    """Those that one takes over from the other."""


def _below(prefix: str, names: Any) -> set[str]:
    """The names that begin with the prefix, without it."""
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}


def _prefixes(one: Anatomy, other: Anatomy) -> tuple[str, str]:
    """What stands before the names of the backbone in either model, such as `bert.` or nothing."""
    first, second = (anatomy.blocks[0].path.split(".") for anatomy in (one, other))
    while first and second and first[-1] == second[-1]:
        first, second = first[:-1], second[:-1]
    return "".join(f"{part}." for part in first), "".join(f"{part}." for part in second)


def _share(module: nn.Module, other: nn.Module, path: str, names: _Names) -> None:
    """Replace what is inside a module at this path."""
    for name in module._parameters:
        if f"{path}{name}" in names.shared and name in other._parameters:
            module._parameters[name] = other._parameters[name]
    for name, child in list(module.named_children()):
        start = f"{path}{name}."
        inside = {each for each in names.ours if each.startswith(start)}
        if name not in other._modules or names.shared.isdisjoint(inside):
            continue
        twin = other.get_submodule(name)
        # A twin with more in it, such as a pooler, would bring along what this model does not compute.
        if inside <= names.shared and inside == {each for each in names.theirs if each.startswith(start)}:
            module._modules[name] = twin
        else:
            _share(child, twin, start, names)


def _spellings(blueprint: Blueprint, names: Iterable[str]) -> set[str]:
    """The names of parameters as a checkpoint may write them: of the task's model, of the bare one, or of others."""
    bare = mapped_class("AutoModel", blueprint.source.config)
    classes = [blueprint.model_class, *([] if bare is None else [bare])]
    starts = [f"{each.base_model_prefix}." for each in classes if each.base_model_prefix]
    found = set(names)
    for start in starts:
        found |= {name.removeprefix(start) for name in found}
    return found | {f"{start}{name}" for start in starts for name in found}


def _head_names(design: Design) -> set[str]:
    """The first components of the names of a head."""
    return {name.partition(".")[0] for name in design.blueprint.anatomy.head}


# ---- processes that are forked

_alive: WeakSet[Backbone] = WeakSet()
_held: list[Any] = []
"""Locks that the present fork waits with."""


def _before_fork() -> None:
    """Let what other threads compute come to its end, but wait for no training."""
    end = time.monotonic() + PATIENCE
    for backbone in list(_alive):
        if backbone.lock.acquire(timeout=max(0.0, end - time.monotonic())):
            _held.append(backbone.lock)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().release()


def _after_fork_in_child() -> None:
    """Give every backbone a new lock: the threads that may have held the old ones are not in this process."""
    _held.clear()
    for backbone in list(_alive):
        backbone.lock = RLock()


if hasattr(os, "register_at_fork"):  # there is no fork on Windows
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
