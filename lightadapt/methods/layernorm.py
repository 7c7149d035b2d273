"""The norms alone (Zhao et al. 2023): scale, and shift where there is one, of LayerNorm, RMSNorm and their like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lightadapt.anatomy import Anatomy, Block
from lightadapt.errors import LightAdaptError
from lightadapt.methods.method import Method

if TYPE_CHECKING:
    from peft import LNTuningConfig


@dataclass(frozen=True, kw_only=True)
class LayerNorm(Method):
    """The weights of the norms: of all in the backbone, or with `layers` of those in these blocks.

    >>> LayerNorm().settings()
    {}
    """

    name: ClassVar[str] = "layernorm"
    learning_rate: ClassVar[float] = 5e-3

    def peft_config(self, anatomy: Anatomy, blocks: Sequence[Block]) -> LNTuningConfig:
        from peft import LNTuningConfig

        every = len(blocks) == len(anatomy.blocks)
        norms = anatomy.norms if every else [path for block in blocks for path in block.norms]
        if not norms:
            raise LightAdaptError("LayerNorm: the adapted blocks have no norm with weights. Use 'bitfit' or 'lora'.")
        return LNTuningConfig(target_modules=list(norms))
