"""Bottleneck adapters: a narrow layer behind, or beside, the parts that write to the residual stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lightadapt.anatomy import Anatomy, Attention, Block
from lightadapt.errors import LightAdaptError, nearest
from lightadapt.methods.method import Method
from lightadapt.methods.ranges import Choice, Range
from lightadapt.numbers import check_number, check_positive, check_whole

if TYPE_CHECKING:
    from lightadapt.tuners import BottleneckConfig

PLACEMENTS = ("pfeiffer", "houlsby", "parallel")


@dataclass(frozen=True, kw_only=True)
class Bottleneck(Method):
    """h + s U f(D x) with D to a width smaller by `reduction`; U starts at zero, so nothing changes at first.

    >>> Bottleneck(placement="houlsby", reduction=8).activation
    'relu'
    """

    name: ClassVar[str] = "bottleneck"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "pfeiffer": {},
        "houlsby": {"placement": "houlsby"},
        "parallel": {"placement": "parallel"},
    }
    learning_rate: ClassVar[float] = 1e-3
    search: ClassVar[Mapping[str, Range]] = {
        "reduction": Choice(8, 16, 32),
        "placement": Choice(*PLACEMENTS),
        "dropout": Choice(0.0, 0.1),
    }

    reduction: int = 16
    """The residual stream is this many times wider than the bottleneck."""
    placement: str = "pfeiffer"
    """`"pfeiffer"`: behind each feed-forward (Pfeiffer et al. 2021). `"houlsby"`: behind each attention, too (Houlsby
    et al. 2019). `"parallel"`: beside each feed-forward, from its input to its output (He et al. 2022)."""
    activation: str = "relu"
    """f, by the name that transformers knows it under."""
    width: int | None = None
    """Width of the bottleneck itself, in place of `reduction`."""
    scaling: float = 1.0
    """s; He et al. use 4 for parallel adapters."""
    dropout: float = 0.0
    """Probability with which a value of the bottleneck is dropped in training."""

    def __post_init__(self) -> None:
        check_whole("reduction", self.reduction, owner="Bottleneck")
        if self.width is not None:
            check_whole("width", self.width, owner="Bottleneck")
        if self.placement not in PLACEMENTS:
            raise LightAdaptError(
                f"Bottleneck(placement={self.placement!r}) is unknown. {nearest(str(self.placement), PLACEMENTS)}"
                f"Placements: {', '.join(PLACEMENTS)}"
            )
        check_positive("scaling", self.scaling, owner="Bottleneck")
        check_number("dropout", self.dropout, owner="Bottleneck", least=0, below=1)

    def peft_config(self, anatomy: Anatomy, blocks: Sequence[Block]) -> BottleneckConfig:
        from transformers.activations import ACT2FN

        from lightadapt.tuners import BottleneckConfig

        if self.activation not in ACT2FN:
            raise LightAdaptError(
                f"Bottleneck(activation={self.activation!r}) is unknown. {nearest(str(self.activation), ACT2FN)}"
                "transformers.activations.ACT2FN lists those that are known, among them relu, gelu, silu, tanh."
            )
        if any(True for _ in ACT2FN[self.activation].parameters()):
            raise LightAdaptError(
                f"Bottleneck(activation={self.activation!r}) has parameters of its own. Use relu, gelu, silu or tanh."
            )
        places = {place: (width, source) for block in blocks for place, width, source in self._places(anatomy, block)}
        if not places:
            raise LightAdaptError("Bottleneck: no output of an attention or a feed-forward was found. Use 'lora'.")
        hidden = min(width for width, _ in places.values())
        size = hidden // self.reduction if self.width is None else self.width
        if size < 1 or size > hidden:
            given = f"reduction={self.reduction}" if self.width is None else f"width={self.width}"
            raise LightAdaptError(
                f"Bottleneck({given}): the residual stream is {hidden} wide. Choose a width from 1 to {hidden}, or a "
                f"reduction from 1 to {hidden}."
            )
        return BottleneckConfig(
            target_modules=set(places),
            hidden_sizes={place: width for place, (width, _) in places.items()},
            bottleneck_size=size,
            activation=self.activation,
            scaling=self.scaling,
            dropout=self.dropout,
            parallel=self.placement == "parallel",
            sources={place: source for place, (_, source) in places.items() if source is not None},
        )

    def _places(self, anatomy: Anatomy, block: Block) -> Iterator[tuple[str, int, str | None]]:
        """The modules of a block that get a bottleneck, the width of their output, and whose input is read."""
        if block.width is None:
            return
        if self.placement == "houlsby" or not block.feed_forwards:
            for attention in block.attentions:
                yield (*_output_of(attention, anatomy, block.width), None)
        for part in block.feed_forwards:
            if part.down and not part.mixture and (block.attentions or part.path is None):
                if self.placement != "parallel":
                    yield part.down[0], block.width, None
                elif part.path is not None:
                    yield part.path, block.width, None
                elif part.up:
                    yield part.down[0], block.width, part.up[0]
            elif part.path is not None:
                yield part.path, block.width, None


def _output_of(attention: Attention, anatomy: Anatomy, width: int) -> tuple[str, int]:
    """The output projection of an attention; the attention itself where its weights are bare parameters."""
    if attention.output:
        return attention.output[0], anatomy.linears[attention.output[0]][1]
    return attention.path, width
