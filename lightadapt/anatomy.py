"""What a model is made of, read from its module tree alone: blocks, their projections, and the head."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import nn
from transformers.pytorch_utils import Conv1D

from lightadapt.errors import LightAdaptError

Layers: TypeAlias = "str | Sequence[int] | None"

_ATTENTION_CLASS = re.compile(r"Attention|Attn")
_ATTENTION_NAME = re.compile(r"(^|_)(attn|attention)$", re.IGNORECASE)


@dataclass(frozen=True)
class Block:
    """One of the repeated blocks, with the full paths of its linear projections in order of registration."""

    path: str
    attention: tuple[str, ...]
    feed_forward: tuple[str, ...]
    """Every linear of the block that is not in its attention."""

    @property
    def linears(self) -> tuple[str, ...]:
        return self.attention + self.feed_forward


@dataclass(frozen=True)
class Anatomy:
    """The parts of one model. Names are full paths in the model, parameters as in `named_parameters()`."""

    blocks: tuple[Block, ...]
    head: frozenset[str]
    """Parameters that the bare backbone does not have."""
    parameters: Mapping[str, tuple[int, ...]]
    """Shape of every parameter."""
    linears: Mapping[str, tuple[int, int]]
    """Input and output width of every linear projection."""

    @property
    def backbone(self) -> list[str]:
        """The parameters of the backbone."""
        return [name for name in self.parameters if name not in self.head]

    def within(self, paths: Iterable[str]) -> frozenset[str]:
        """The parameters that lie in any of these modules."""
        prefixes = tuple(f"{path}." for path in paths)
        return frozenset(name for name in self.parameters if name.startswith(prefixes))

    def choose_blocks(self, layers: Layers) -> tuple[Block, ...]:
        """The blocks that `layers` names: None (all), `"last:4"`, `"first:4"`, or indices counted from 0.

        Raises:
            LightAdaptError: another form, or a number outside the model.
        """
        count = len(self.blocks)
        if layers is None:
            return self.blocks
        if isinstance(layers, str):
            match = re.fullmatch(r"(first|last):(\d+)", layers)
            if not match:
                raise LightAdaptError(f"layers={layers!r}: write 'last:2', 'first:2', or a list of indices [0, 1].")
            number = int(match[2])
            if not 1 <= number <= count:
                raise LightAdaptError(f"layers={layers!r}: the model has {count} blocks; choose 1 to {count}.")
            return self.blocks[:number] if match[1] == "first" else self.blocks[-number:]
        if not isinstance(layers, Iterable):
            raise LightAdaptError(f"layers={layers!r}: write 'last:2', 'first:2', or a list of indices [0, 1].")
        indices = list(layers)
        wrong = [index for index in indices if type(index) is not int or not 0 <= index < count]
        if wrong or not indices:
            named = f"{wrong[0]!r} is not a block" if wrong else "it names no block"
            raise LightAdaptError(f"layers={indices}: {named}; the model has {count}, numbered 0 to {count - 1}.")
        return tuple(self.blocks[index] for index in sorted(set(indices)))


def describe(model: nn.Module, backbone: Collection[str]) -> Anatomy:
    """The anatomy of a model; `backbone` holds the parameter names of the bare backbone.

    A task model carries its backbone below an attribute of any name, or spread over its top level, so a
    parameter belongs to the backbone when the backbone knows its name with or without the first component.
    """
    parameters = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    head = frozenset(name for name in parameters if name not in backbone and name.partition(".")[2] not in backbone)
    linears = {path: _widths(module) for path, module in model.named_modules() if _is_linear(module)}
    blocks = [_describe_block(path, module) for path, module in _blocks(model)]
    # A head may hold a list of modules too; what repeats in the head is no block.
    in_backbone = [block for block in blocks if not _within(block.path, parameters) <= head]
    return Anatomy(tuple(in_backbone), head, parameters, linears)


def outermost(model: nn.Module, names: Collection[str]) -> tuple[str, ...]:
    """The fewest modules that hold these parameters and no others, in order of registration.

    A parameter that shares its module with others, or hangs on the model itself, is in none.
    """
    found: list[str] = []
    for path, module in model.named_modules():
        if not path or any(path.startswith(f"{other}.") for other in found):
            continue
        inside = [f"{path}.{name}" for name, _ in module.named_parameters()]
        if inside and all(name in names for name in inside):
            found.append(path)
    return tuple(found)


def _within(path: str, names: Iterable[str]) -> set[str]:
    return {name for name in names if name.startswith(f"{path}.")}


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, (nn.Linear, Conv1D))  # quantized linears derive from nn.Linear


def _widths(module: nn.Module) -> tuple[int, int]:
    if isinstance(module, Conv1D):
        return module.weight.shape[0], module.weight.shape[1]
    assert isinstance(module, nn.Linear)
    return module.in_features, module.out_features


def _blocks(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The items of the outermost lists of modules that hold linears; a list inside such a list is opened too."""
    stacks: list[str] = []
    for path, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or any(path.startswith(f"{stack}.") for stack in stacks):
            continue
        if any(map(_is_linear, module.modules())) and not all(map(_is_linear, module)):
            stacks.append(path)
            yield from _items(path, module)


def _items(path: str, stack: nn.ModuleList) -> Iterator[tuple[str, nn.Module]]:
    for number, item in enumerate(stack):
        if isinstance(item, nn.ModuleList):
            yield from _items(f"{path}.{number}", item)
        else:
            yield f"{path}.{number}", item


def _describe_block(path: str, block: nn.Module) -> Block:
    attention: list[str] = []
    for name, module in block.named_modules():
        if not name or any(name.startswith(f"{other}.") for other in attention) or _is_linear(module):
            continue
        called = _ATTENTION_CLASS.search(type(module).__name__) or _ATTENTION_NAME.search(name.rpartition(".")[2])
        if called and sum(map(_is_linear, module.modules())) >= 2:
            attention.append(name)
    inside = tuple(f"{name}." for name in attention)
    linears = [name for name, module in block.named_modules() if _is_linear(module)]
    return Block(
        path,
        tuple(f"{path}.{name}" for name in linears if name.startswith(inside)),
        tuple(f"{path}.{name}" for name in linears if not name.startswith(inside)),
    )
