"""Prompt tuning: learned vectors among the embeddings of the tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lightadapt.anatomy import Anatomy, Block
from lightadapt.errors import LightAdaptError
from lightadapt.methods.method import Method
from lightadapt.methods.ranges import Choice, Range
from lightadapt.numbers import check_number, check_whole

if TYPE_CHECKING:
    from lightadapt.tuners import PromptConfig


@dataclass(frozen=True, kw_only=True)
class Prompt(Method):
    """Learned vectors that the model reads as tokens (Lester et al. 2021), and that its head never sees.

    They take `length` of the positions that the model has. `layers` has no meaning for it.

    >>> Prompt(length=50).extra_tokens
    50
    """

    name: ClassVar[str] = "prompt"
    learning_rate: ClassVar[float] = 5e-2
    search: ClassVar[Mapping[str, Range]] = {"length": Choice(10, 20, 40)}

    length: int = 20
    """Learned tokens."""
    deviation: float = 0.5
    """Standard deviation of the random start, in units of that of the embeddings."""

    def __post_init__(self) -> None:
        check_whole("length", self.length, owner="Prompt")
        check_number("deviation", self.deviation, owner="Prompt", least=0)

    @property
    def extra_tokens(self) -> int:
        return self.length

    def peft_config(self, anatomy: Anatomy, blocks: Sequence[Block]) -> PromptConfig:
        from lightadapt.tuners import PromptConfig

        if len(blocks) != len(anatomy.blocks):
            raise LightAdaptError("Prompt works at the embeddings, not in blocks. Leave layers out.")
        if anatomy.embedding is None or anatomy.trunk is None:
            raise LightAdaptError(
                "Prompt: no embedding was seen to turn the token ids into vectors, so there is nothing to put learned "
                "ones among. Use 'prefix' or 'lora'."
            )
        return PromptConfig(
            target_modules={anatomy.embedding},
            num_virtual_tokens=self.length,
            trunk=anatomy.trunk,
            reader=anatomy.reader,
            position=0 if anatomy.causal else 1,
            deviation=self.deviation,
        )
