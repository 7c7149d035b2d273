"""(IA)^3 (Liu et al. 2022): keys, values and inner activations are multiplied by learned vectors, one at the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lightadapt.anatomy import Anatomy, Block
from lightadapt.errors import LightAdaptError
from lightadapt.methods.method import Method, check_target_names, find_targets
from lightadapt.methods.ranges import Choice, Range

if TYPE_CHECKING:
    from peft import IA3Config


@dataclass(frozen=True, kw_only=True)
class IA3(Method):
    """Learned factors, fewer parameters than any other method that reaches into the blocks.

    >>> IA3().targets
    'paper'
    """

    name: ClassVar[str] = "ia3"
    learning_rate: ClassVar[float] = 5e-2
    search: ClassVar[Mapping[str, Range]] = {"targets": Choice("paper", "all-linear")}

    targets: str | Sequence[str] = "paper"
    """`"paper"`: keys, values and what goes into the second projection of the feed-forward. Or `"all-linear"`,
    `"attention"`, or names of projections, whose outputs are multiplied."""

    def __post_init__(self) -> None:
        check_target_names("IA3", self.targets)

    def peft_config(self, anatomy: Anatomy, blocks: Sequence[Block]) -> IA3Config:
        from peft import IA3Config

        inputs: list[str] = []
        if self.targets == "paper":
            outputs = [path for block in blocks for path in _keys_and_values(block)]
            inputs = [path for block in blocks for part in block.feed_forwards for path in part.down]
            inputs = [path for path in inputs if path not in outputs]
        else:
            outputs = find_targets("IA3(targets=…)", self.targets, blocks)
        if not outputs + inputs:
            raise LightAdaptError("IA3: the adapted blocks have no linear projections to multiply. Use 'layernorm'.")
        return IA3Config(target_modules=[*outputs, *inputs], feedforward_modules=inputs)


def _keys_and_values(block: Block) -> list[str]:
    """The projections that give keys and values; all of a block that has none, nor a feed-forward."""
    found = [path for each in block.attentions for path in dict.fromkeys((*each.key, *each.value, *each.fused))]
    if found or any(part.down for part in block.feed_forwards):
        return found
    return list(block.linears)
