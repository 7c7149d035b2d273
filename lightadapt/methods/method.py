"""What every method is: which modules it inserts, and which of the model's own parameters it trains."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lightadapt.anatomy import Anatomy, Block

if TYPE_CHECKING:
    from peft import PeftConfig


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A way to adapt the backbone. The head is always trained, whatever the method."""

    name: ClassVar[str]
    learning_rate: ClassVar[float]
    """Default learning rate of what the method trains in the backbone."""
    head_learning_rate: ClassVar[float] = 5e-3
    """Default learning rate of the head, which starts from nothing."""

    def peft_config(self, anatomy: Anatomy, blocks: Sequence[Block]) -> PeftConfig | None:
        """A fresh PEFT config of what is inserted in these blocks; None when nothing is.

        Raises:
            LightAdaptError: the method does not fit the model.
        """
        return None

    def unfrozen(self, anatomy: Anatomy, blocks: Sequence[Block]) -> frozenset[str]:
        """The parameters of the backbone itself that are trained."""
        return frozenset()

    def settings(self) -> dict[str, Any]:
        """The fields of the method as JSON values."""
        return asdict(self)
