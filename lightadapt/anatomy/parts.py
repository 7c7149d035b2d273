"""The parts of a transformer, as methods see them. All names are full paths in the model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from lightadapt.anatomy.dry_run import KeyValues
from lightadapt.errors import LightAdaptError

Layers: TypeAlias = "str | Sequence[int] | None"
Family: TypeAlias = Literal["encoder", "decoder", "encoder-decoder"]


@dataclass(frozen=True)
class Attention:
    """One attention of a block, with its linear projections. Each role may be empty, or several (low-rank) steps."""

    path: str
    query: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    value: tuple[str, ...] = ()
    """A projection that gives keys and values at once is named in both."""
    fused: tuple[str, ...] = ()
    """Projections that give queries, keys and values at once."""
    output: tuple[str, ...] = ()
    """The projection whose result is about to be added to the residual stream; at most one."""
    other: tuple[str, ...] = ()
    core: str | None = None
    """The module that computes the attention itself; None when none was seen to."""
    key_values: KeyValues | None = None
    """What reaches the attention function there."""
    across: bool = False
    """Whether it attends to another sequence: the decoder's view of the encoder."""


@dataclass(frozen=True)
class FeedForward:
    """What a block does besides attention: a plain or gated feed-forward, experts, or a state-space mixer."""

    path: str | None
    """The smallest module that holds it all; None when that is the block itself."""
    up: tuple[str, ...] = ()
    """Projections that read the residual stream."""
    down: tuple[str, ...] = ()
    """The projection whose result is about to be added to the residual stream; at most one."""
    other: tuple[str, ...] = ()
    gates: tuple[str, ...] = ()
    """Projections that choose or weigh experts."""
    experts: tuple[str, ...] = ()
    """Parameters (experts, ., .) that hold the projections of all experts."""
    mixture: bool = False
    """Whether a token goes through some experts only, so that no projection alone writes to the stream."""


@dataclass(frozen=True)
class Block:
    """One of the repeated blocks."""

    paths: tuple[str, ...]
    """Its module; several where a model keeps attentions and feed-forwards in lists of their own."""
    stack: str
    """The list of modules that it is an item of."""
    width: int | None
    """Width of the residual stream."""
    attentions: tuple[Attention, ...]
    feed_forwards: tuple[FeedForward, ...]
    linears: tuple[str, ...]
    """Every linear projection that is in use, gates of experts apart."""
    norms: tuple[str, ...]

    @property
    def path(self) -> str:
        return self.paths[0]

    @property
    def attention_linears(self) -> tuple[str, ...]:
        inside = tuple(f"{attention.path}." for attention in self.attentions)
        return tuple(path for path in self.linears if path.startswith(inside))

    @property
    def experts(self) -> tuple[str, ...]:
        return tuple(name for part in self.feed_forwards for name in part.experts)


@dataclass(frozen=True)
class Anatomy:
    """The parts of one model. Parameters are named as in `named_parameters()`."""

    blocks: tuple[Block, ...]
    """In the order in which they run."""
    head: frozenset[str]
    """Parameters that the bare backbone does not have."""
    parameters: Mapping[str, tuple[int, ...]]
    """Shape of every parameter."""
    linears: Mapping[str, tuple[int, int]]
    """Input and output width of every linear projection."""
    norms: tuple[str, ...]
    """The norms of the backbone that are in use and have weights, those of the blocks among them."""
    embedding: str | None
    """The module that turns token ids into vectors."""
    trunk: str | None
    """The module that takes the token ids through the first stack; `""` is the model itself."""
    reader: str | None
    """The decoder that attends to what the trunk gives; None without one."""
    causal: bool
    """Whether a token sees only those before it, all through the model."""
    ties: Mapping[str, str]
    """Parameters that are another one under a second name, with the first."""
    idle: frozenset[str]
    """Parameters that no output depends on, as far as that could be seen."""
    bypassed: frozenset[str]
    """Linear projections whose weight is read by another module than their own, as far as that could be seen."""
    traced: bool
    """Whether a dry run of the model confirmed this picture; else it is read from the module tree alone."""
    stopped_by: str = ""
    """What a dry run ended at before its end."""
    positions: int | None = None
    """Tokens that the positions allow; None where they are not counted."""

    @property
    def backbone(self) -> list[str]:
        """The parameters of the backbone."""
        return [name for name in self.parameters if name not in self.head]

    @property
    def stacks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(block.stack for block in self.blocks))

    def within(self, paths: Iterable[str]) -> frozenset[str]:
        """The parameters that lie in any of these modules."""
        prefixes = tuple(f"{path}." for path in paths)
        return frozenset(name for name in self.parameters if name.startswith(prefixes))

    def choose_blocks(self, layers: Layers) -> tuple[Block, ...]:
        """The blocks that `layers` names.

        Args:
            layers: None (all), `"last:4"` or `"first:4"` (of each stack: encoder and decoder are two), or indices
                counted from 0 over all blocks.

        Raises:
            LightAdaptError: another form, or a number outside the model.
        """
        count = len(self.blocks)
        if layers is None:
            return self.blocks
        if isinstance(layers, str):
            return self._choose_ends(layers)
        if not isinstance(layers, Iterable):
            raise LightAdaptError(f"layers={layers!r}: write 'last:2', 'first:2', or a list of indices [0, 1].")
        indices = list(layers)
        wrong = [index for index in indices if type(index) is not int or not 0 <= index < count]
        if wrong or not indices:
            named = f"{wrong[0]!r} is not a block" if wrong else "it names no block"
            raise LightAdaptError(f"layers={indices}: {named}; the model has {count}, numbered 0 to {count - 1}.")
        return tuple(self.blocks[index] for index in sorted(set(indices)))

    def _choose_ends(self, layers: str) -> tuple[Block, ...]:
        match = re.fullmatch(r"(first|last):(\d+)", layers)
        if not match:
            raise LightAdaptError(f"layers={layers!r}: write 'last:2', 'first:2', or a list of indices [0, 1].")
        number = int(match[2])
        by_stack = [[block for block in self.blocks if block.stack == stack] for stack in self.stacks]
        longest = max(map(len, by_stack))
        if not 1 <= number <= longest:
            each = f"stacks of {', '.join(str(len(blocks)) for blocks in by_stack)}" if len(by_stack) > 1 else longest
            raise LightAdaptError(f"layers={layers!r}: the model has {each} blocks; choose 1 to {longest}.")
        chosen = [blocks[:number] if match[1] == "first" else blocks[-number:] for blocks in by_stack]
        return tuple(block for blocks in chosen for block in blocks)
