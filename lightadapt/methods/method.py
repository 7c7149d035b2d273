"""What every method is: which modules it inserts, and which of the model's own parameters it trains."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lightadapt.anatomy import Anatomy, Block, Layers

if TYPE_CHECKING:
    from peft import PeftConfig


@dataclass(frozen=True)
class Plan:
    """What a method does to one model."""

    blocks: tuple[Block, ...]
    """The blocks that are adapted."""
    config: PeftConfig | None
    """What PEFT inserts; None when nothing is."""
    unfrozen: frozenset[str]
    """Parameters of the backbone itself that are trained."""


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A way to adapt the backbone. The head is always trained, whatever the method."""

    name: ClassVar[str]
    learning_rate: ClassVar[float]
    """Default learning rate of what the method trains in the backbone."""
    head_learning_rate: ClassVar[float] = 5e-3
    """Default learning rate of the head, which starts from nothing."""

    def plan(self, anatomy: Anatomy, layers: Layers) -> Plan:
        """What the method does to a model of this anatomy.

        Raises:
            LightAdaptError: the method or the layers do not fit the model.
        """
        blocks = anatomy.choose_blocks(layers)
        return Plan(blocks, self.peft_config(anatomy, blocks), self.unfrozen(anatomy, blocks))

    def peft_config(self, anatomy: Anatomy, blocks: Sequence[Block]) -> PeftConfig | None:
        """A fresh PEFT config of what is inserted in these blocks; None when nothing is."""
        return None

    def unfrozen(self, anatomy: Anatomy, blocks: Sequence[Block]) -> frozenset[str]:
        """The parameters of the backbone itself that are trained."""
        return frozenset()

    def settings(self) -> dict[str, Any]:
        """The fields of the method as JSON values."""
        return asdict(self)
