"""Low-rank adaptation (Hu et al. 2021): y = W x + (alpha / rank) B A x, with W frozen and B zero at the start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lightadapt.anatomy import Anatomy, Block
from lightadapt.errors import LightAdaptError, nearest
from lightadapt.methods.method import Method

if TYPE_CHECKING:
    from peft import LoraConfig


@dataclass(frozen=True, kw_only=True)
class LoRA(Method):
    """Low-rank updates of the linear projections of the blocks.

    >>> LoRA(rank=16, targets="attention").alpha
    16.0
    """

    name: ClassVar[str] = "lora"
    learning_rate: ClassVar[float] = 1e-3

    rank: int = 8
    """Width of the update B A; the trainable parameters grow linearly with it."""
    alpha: float = 16.0
    """The update is scaled by alpha / rank."""
    dropout: float = 0.0
    """Probability with which an input of the update is dropped in training."""
    targets: str | Sequence[str] = "all-linear"
    """`"all-linear"`, `"attention"`, or names of projections such as `["query", "value"]`."""

    def __post_init__(self) -> None:
        if type(self.rank) is not int or self.rank < 1:
            raise LightAdaptError(f"LoRA(rank={self.rank!r}): the rank is a whole number of at least 1, such as 8.")
        if not (isinstance(self.alpha, (int, float)) and self.alpha > 0):
            raise LightAdaptError(f"LoRA(alpha={self.alpha!r}): alpha is a number above 0; twice the rank is usual.")
        if not (isinstance(self.dropout, (int, float)) and 0 <= self.dropout < 1):
            raise LightAdaptError(f"LoRA(dropout={self.dropout!r}): dropout is a probability in [0, 1).")
        names = [self.targets] if isinstance(self.targets, str) else self.targets
        if not (isinstance(names, (list, tuple)) and names and all(isinstance(name, str) for name in names)):
            raise LightAdaptError(
                f"LoRA(targets={self.targets!r}): write 'all-linear', 'attention', or names such as ['query', 'value']."
            )

    def peft_config(self, anatomy: Anatomy, blocks: Sequence[Block]) -> LoraConfig:
        from peft import LoraConfig

        targets = self._paths(blocks)
        if not targets:
            raise LightAdaptError(
                f"LoRA(targets={self.targets!r}): the adapted blocks have no such projection. Use targets='all-linear'."
            )
        narrow = min(targets, key=lambda path: min(anatomy.linears[path]))
        if self.rank > min(anatomy.linears[narrow]):
            raise LightAdaptError(
                f"LoRA(rank={self.rank}): {narrow} is {anatomy.linears[narrow]} wide, and a rank above its narrow side "
                f"has no use. Choose at most {min(anatomy.linears[narrow])}."
            )
        return LoraConfig(r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules=targets)  # type: ignore[arg-type]

    def _paths(self, blocks: Sequence[Block]) -> list[str]:
        """The full paths of the targets: a suffix alone would also hit other modules of that name."""
        every = [path for block in blocks for path in block.linears]
        if self.targets == "all-linear":
            return every
        if self.targets == "attention":
            return [path for block in blocks for path in block.attention]
        names = [self.targets] if isinstance(self.targets, str) else list(self.targets)
        chosen: set[str] = set()
        for name in names:
            matched = {path for path in every if path == name or path.endswith(f".{name}")}
            if not matched:
                leaves = sorted({path.rpartition(".")[2] for path in every})
                raise LightAdaptError(
                    f"LoRA(targets=…): {name!r} is no linear projection of the adapted blocks. "
                    f"{nearest(name, leaves)}There are: {', '.join(leaves)}, or 'all-linear', 'attention'."
                )
            chosen |= matched
        return [path for path in every if path in chosen]
