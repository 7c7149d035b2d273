"""Full fine-tuning: the baseline that parameter-efficient methods are held against."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lightadapt.anatomy import Anatomy, Block
from lightadapt.methods.method import Method


@dataclass(frozen=True, kw_only=True)
class Full(Method):
    """Every parameter of the backbone is trained; with `layers=`, every parameter of those blocks.

    >>> Full().settings()
    {}
    """

    name: ClassVar[str] = "full"
    learning_rate: ClassVar[float] = 1e-4

    def unfrozen(self, anatomy: Anatomy, blocks: Sequence[Block]) -> frozenset[str]:
        if len(blocks) == len(anatomy.blocks):
            return frozenset(anatomy.backbone)
        return anatomy.within(path for block in blocks for path in block.paths)
