"""BitFit (Ben Zaken et al. 2022): the biases alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lightadapt.anatomy import Anatomy, Block
from lightadapt.errors import LightAdaptError
from lightadapt.methods.method import Method

if TYPE_CHECKING:
    from lightadapt.tuners import BitFitConfig


@dataclass(frozen=True, kw_only=True)
class BitFit(Method):
    """The biases of projections and norms; where projections have none, as in Llama, they are given some.

    >>> BitFit().settings()
    {}
    """

    name: ClassVar[str] = "bitfit"
    learning_rate: ClassVar[float] = 2e-3

    def peft_config(self, anatomy: Anatomy, blocks: Sequence[Block]) -> BitFitConfig:
        from lightadapt.tuners import BitFitConfig

        linears = [path for block in blocks for path in block.linears]
        biased = [path for path in linears if _has_bias(anatomy, path)]
        norms = [path for path in _norms(anatomy, blocks) if _has_bias(anatomy, path)]
        places = [*(biased or linears), *norms]
        if not places:
            raise LightAdaptError("BitFit: the adapted blocks have nothing that could carry a bias. Use 'layernorm'.")
        sizes = {path: anatomy.linears[path][1] for path in places if path in anatomy.linears}
        sizes |= {path: anatomy.parameters[f"{path}.bias"][0] for path in norms}
        return BitFitConfig(target_modules=set(places), hidden_sizes=sizes)


def _has_bias(anatomy: Anatomy, path: str) -> bool:
    name = f"{path}.bias"
    return len(anatomy.parameters.get(name, ())) == 1 and name not in anatomy.idle


def _norms(anatomy: Anatomy, blocks: Sequence[Block]) -> Sequence[str]:
    """The norms of the chosen blocks; all of the backbone when all blocks are chosen."""
    return anatomy.norms if len(blocks) == len(anatomy.blocks) else [path for block in blocks for path in block.norms]
