"""What every method is: which modules it inserts, and which of the model's own parameters it trains."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lightadapt.anatomy import Anatomy, Block, Layers
from lightadapt.errors import LightAdaptError, nearest
from lightadapt.methods.ranges import Range
from lightadapt.registry import Registry

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel


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
    """A way to adapt the backbone. The head is always trained, whatever the method.

    A class that derives from it is known to `adapt` and `load` by its `name` from its definition on.
    """

    name: ClassVar[str]
    """The name to call it by, under which it is saved."""
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Further names to call it by, each with the settings that it stands for."""
    learning_rate: ClassVar[float]
    """Default learning rate of what the method trains in the backbone."""
    head_learning_rate: ClassVar[float] = 5e-3
    """Default learning rate of the head, which starts from nothing."""
    search: ClassVar[Mapping[str, Range]] = {}
    """The fields that a search tries other values of by default, with these values."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        KNOWN_METHODS.add(cls)

    @property
    def extra_tokens(self) -> int:
        """Tokens that the method adds to every input, which count towards the longest one the model reads."""
        return 0

    @property
    def rewrites_base(self) -> bool:
        """Whether inserting the method changes frozen weights, so that no other adaptation can share them."""
        return False

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

    def start(self, model: PreTrainedModel, tokenizer: Any) -> None:
        """Give what was inserted in a new adaptation a start that needs the loaded model; most methods need none."""
        return

    def __str__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.settings().items())})"

    def settings(self) -> dict[str, Any]:
        """The fields of the method as JSON values."""
        return asdict(self)

    def as_json(self) -> dict[str, Any]:
        """What `method_of_json` makes the method of again."""
        return {"name": self.name, "settings": self.settings()}


KNOWN_METHODS: Registry[Method] = Registry("method", "lightadapt.methods")
"""Every method of this process by the names that it declares."""


def find_targets(owner: str, targets: str | Sequence[str], blocks: Sequence[Block]) -> list[str]:
    """The full paths of the linear projections that `targets` names: a suffix alone would hit other modules, too.

    Args:
        owner: what to call the argument in an error, such as `LoRA(targets=…)`.
        targets: `"all-linear"`, `"attention"`, or names of projections.
        blocks: where to look.

    Raises:
        LightAdaptError: a name matches nothing, even when others match.
    """
    every = [path for block in blocks for path in block.linears]
    if targets == "all-linear":
        return every
    if targets == "attention":
        return [path for block in blocks for path in block.attention_linears]
    chosen: set[str] = set()
    for name in [targets] if isinstance(targets, str) else targets:
        matched = {path for path in every if path == name or path.endswith(f".{name}")}
        if not matched:
            leaves = sorted({path.rpartition(".")[2] for path in every})
            raise LightAdaptError(
                f"{owner}: {name!r} is not a linear projection of the adapted blocks. "
                f"{nearest(name, leaves)}There are: {', '.join(leaves)}, or 'all-linear', 'attention'."
            )
        chosen |= matched
    return [path for path in every if path in chosen]


def check_target_names(owner: str, targets: Any) -> None:
    """Raise unless `targets` is a name or a list of names."""
    names = [targets] if isinstance(targets, str) else targets
    if not (isinstance(names, (list, tuple)) and names and all(isinstance(name, str) for name in names)):
        raise LightAdaptError(
            f"{owner}(targets={targets!r}): write 'all-linear', 'attention', or names such as ['query', 'value']."
        )
