"""Any other method of PEFT, by the name of its type or by a config of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lightadapt import peft_bridge
from lightadapt.anatomy import Anatomy, Block
from lightadapt.errors import LightAdaptError, nearest
from lightadapt.methods.method import Method
from lightadapt.methods.prefix import Prefix
from lightadapt.methods.prompt import Prompt

if TYPE_CHECKING:
    from peft import PeftConfig

ALL_LINEAR = "all-linear"
NEED_INPUTS = ("POLY", "SHADOW", "TRAINABLE_TOKENS")


@dataclass(frozen=True, kw_only=True)
class PeftMethod(Method):
    """A method of PEFT, with its targets found by structure where its config leaves them open.

    >>> from peft import VeraConfig
    >>> method_of(VeraConfig(r=64)).config["r"]
    64
    """

    name: ClassVar[str] = "peft"
    learning_rate: ClassVar[float] = 1e-3

    config: Mapping[str, Any]
    """The fields of the PEFT config, `peft_type` among them, as JSON values."""

    def peft_config(self, anatomy: Anatomy, blocks: Sequence[Block]) -> PeftConfig:
        config = peft_bridge.make_config({**self.config, "modules_to_save": None})
        if hasattr(config, "save_projection"):
            config.save_projection = False  # random, and drawn again from their seed
        every = [path for block in blocks for path in block.linears]
        targets = config.target_modules
        if not every and targets in (None, ALL_LINEAR):
            raise LightAdaptError(f"{self._title}: the adapted blocks have no linear projections. Give target_modules.")
        if targets is None or targets == ALL_LINEAR:
            config.target_modules = every
            if getattr(config, "feedforward_modules", ()) is None:
                config.feedforward_modules = []
        elif not isinstance(targets, str):
            config.target_modules = self._expand(sorted(targets), anatomy, every)
        return config

    def _expand(self, names: Sequence[str], anatomy: Anatomy, linears: Sequence[str]) -> list[str]:
        """The targets that end with these names: projections of the blocks first, else other modules."""
        modules = sorted({name.rpartition(".")[0] for name in anatomy.parameters})
        found: set[str] = set()
        for name in names:
            matched = [path for path in linears if _ends_with(path, name)]
            matched = matched or [path for path in modules if _ends_with(path, name)]
            if not matched:
                leaves = sorted({path.rpartition(".")[2] for path in linears})
                raise LightAdaptError(
                    f"{self._title}: the target {name!r} matches no module. {nearest(name, leaves)}There are: "
                    f"{', '.join(leaves)}"
                )
            found |= set(matched)
        return sorted(found)

    def unfrozen(self, anatomy: Anatomy, blocks: Sequence[Block]) -> frozenset[str]:
        """What `modules_to_save` names beside the head, which is trained anyway."""
        names = self.config.get("modules_to_save") or []
        modules = {name.rpartition(".")[0] for name in anatomy.parameters}
        chosen = {path for path in modules for name in names if _ends_with(path, name)}
        return anatomy.within(chosen) - anatomy.head

    @property
    def _title(self) -> str:
        return f"PEFT's {self.config['peft_type']}"

    def __str__(self) -> str:
        shown = {key: value for key, value in self.config.items() if key in ("r", "rank", "alpha", "lora_alpha")}
        return f"{self._title}({', '.join(f'{key}={value}' for key, value in shown.items())})"


def _ends_with(path: str, name: str) -> bool:
    return path == name or path.endswith(f".{name}")


def method_of(config: PeftConfig) -> Method:
    """The method that a PEFT config stands for.

    Raises:
        LightAdaptError: PEFT would need to be in charge of the whole model for it.
    """
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if kind in ("PREFIX_TUNING", "PROMPT_TUNING"):
        ours = Prefix if kind == "PREFIX_TUNING" else Prompt
        return ours() if config.num_virtual_tokens is None else ours(length=config.num_virtual_tokens)
    if kind in NEED_INPUTS:
        raise LightAdaptError(f"PEFT's {kind} needs inputs of its own at every step, which no task here gives.")
    if not hasattr(config, "target_modules") or peft_bridge.keeps_state_apart(config):
        raise LightAdaptError(
            f"PEFT's {kind} does not work inside a model but around it, which would take its forward from it. "
            "Use one of lightadapt's own methods, or another of PEFT's."
        )
    content = {
        name: value for name, value in config.to_dict().items() if name not in ("auto_mapping", "runtime_config")
    }
    return PeftMethod(config=json.loads(json.dumps(content, default=_as_json)))


def method_named(name: str) -> Method | None:
    """The method of PEFT of that name with its defaults; None when there is none."""
    if name.upper() not in peft_bridge.config_types():
        return None
    config_type = peft_bridge.config_types()[name.upper()]
    # AdaLoRA asks for the length of the training; its ranks stay as they start, because Trainer never moves them.
    options = {"total_step": 1000, "init_r": 8} if name == "adalora" else {}
    try:
        config = config_type(**options)
    except (TypeError, ValueError) as error:
        raise LightAdaptError(
            f"PEFT's {name} needs settings ({error}). Pass method={config_type.__name__}(…)."
        ) from error
    return method_of(config)


def _as_json(value: Any) -> Any:
    return sorted(value) if isinstance(value, (set, frozenset)) else str(getattr(value, "value", value))
