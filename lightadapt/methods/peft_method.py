"""Any other method of PEFT, by the name of its type or by a config of its own."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from lightadapt import peft_bridge
from lightadapt.anatomy import Anatomy, Block
from lightadapt.errors import LightAdaptError, nearest
from lightadapt.methods.layernorm import LayerNorm
from lightadapt.methods.lora import INITS
from lightadapt.methods.method import Method
from lightadapt.methods.prefix import Prefix
from lightadapt.methods.prompt import Prompt
from lightadapt.suggestions.foreign_names import method_called

if TYPE_CHECKING:
    from peft import PeftConfig

ALL_LINEAR = "all-linear"
NEED_INPUTS = ("POLY", "SHADOW", "TRAINABLE_TOKENS")
REWRITING = ("pissa", "olora", "corda")
"""Starts of LoRA that change the frozen weights."""
FIELDS: dict[str, tuple[tuple[Any, ...], str]] = {
    "bias": (("none",), "Leave it out, or use method='bitfit'."),
    "layer_replication": ((), "Leave it out."),
    "trainable_token_indices": ((), "Leave it out."),
    "layers_to_transform": ((), "Write adapt(…, layers=[…])."),
    "layers_pattern": ((), "Write adapt(…, layers=[…])."),
    "exclude_modules": ((), "Name the targets that are meant in target_modules."),
    "init_lora_weights": ((True, False, *INITS), "Of those that need no data there are: " + ", ".join(INITS[1:])),
}
"""Fields of PEFT's configs with the values that mean something here, and the way out for others."""


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

    @property
    def rewrites_base(self) -> bool:
        return str(self.config.get("init_lora_weights")).startswith(REWRITING)

    def peft_config(self, anatomy: Anatomy, blocks: Sequence[Block]) -> PeftConfig:
        config = peft_bridge.make_config({**self.config, "modules_to_save": None})
        if hasattr(config, "save_projection"):
            config.save_projection = False  # random, and drawn again from their seed
        every = [path for block in blocks for path in block.linears]
        targets = config.target_modules
        if targets is None or targets == ALL_LINEAR:
            config.target_modules = every
            if getattr(config, "feedforward_modules", ()) is None:
                config.feedforward_modules = []
        else:
            whole = len(blocks) == len(anatomy.blocks)
            config.target_modules = self._expand(targets, anatomy, every, whole=whole)
        if not config.target_modules and not config.to_dict().get("target_parameters"):
            raise LightAdaptError(f"{self._title}: the adapted blocks have no linear projections. Give target_modules.")
        self._check_rank(config, anatomy)
        return config

    def _expand(
        self, targets: str | Collection[str], anatomy: Anatomy, linears: Sequence[str], *, whole: bool
    ) -> list[str]:
        """The full paths of the targets: projections of the blocks, else, of all blocks, any other module.

        Args:
            targets: a regular expression of whole paths, or names that paths end with.
            whole: whether all blocks are adapted.
        """
        others = sorted({name.rpartition(".")[0] for name in anatomy.parameters}) if whole else []
        found: set[str] = set()
        for name in [targets] if isinstance(targets, str) else sorted(targets):
            chosen = partial(peft_bridge.paths_of, name) if isinstance(targets, str) else partial(_ending, name)
            matched = chosen(linears) or chosen(others)
            if not matched:
                leaves = sorted({path.rpartition(".")[2] for path in linears})
                raise LightAdaptError(
                    f"{self._title}: the target {name!r} matches no module. {nearest(name, leaves)}There are: "
                    f"{', '.join(leaves)}"
                )
            found |= set(matched)
        heads = sorted(path for path in found if anatomy.within([path]) & anatomy.head)
        if heads:
            raise LightAdaptError(f"{self._title}: {heads[0]} is the head, which is trained anyway. Leave it out.")
        both = sorted(path for path in found if anatomy.within([path]) & self._saved(anatomy))
        if both:
            raise LightAdaptError(f"{self._title}: {both[0]} is in target_modules and in modules_to_save. Choose one.")
        return sorted(found)

    def _check_rank(self, config: PeftConfig, anatomy: Anatomy) -> None:
        rank = self.config.get("r")
        narrow = [path for path in config.target_modules if path in anatomy.linears]
        if isinstance(rank, int) and narrow and self.config["peft_type"] in ("LORA", "ADALORA"):
            path = min(narrow, key=lambda each: min(anatomy.linears[each]))
            if rank > min(anatomy.linears[path]):
                raise LightAdaptError(
                    f"{self._title}: r={rank} is above the smaller side of {path}, {min(anatomy.linears[path])}."
                )

    def unfrozen(self, anatomy: Anatomy, blocks: Sequence[Block]) -> frozenset[str]:
        return self._saved(anatomy)

    def _saved(self, anatomy: Anatomy) -> frozenset[str]:
        """The parameters of what `modules_to_save` names beside the head, which is trained anyway."""
        modules = {name.rpartition(".")[0] for name in anatomy.parameters}
        chosen: set[str] = set()
        for name in self.config.get("modules_to_save") or []:
            matched = set(_ending(name, modules | {path.partition(".")[0] for path in modules}))
            if not matched:
                raise LightAdaptError(
                    f"{self._title}: modules_to_save names {name!r}, which is not a module of the model."
                )
            chosen |= matched
        return anatomy.within(chosen) - anatomy.head

    @property
    def _title(self) -> str:
        return f"PEFT's {self.config['peft_type']}"

    def __str__(self) -> str:
        shown = {key: value for key, value in self.config.items() if key in ("r", "rank", "alpha", "lora_alpha")}
        return f"{self._title}({', '.join(f'{key}={value}' for key, value in shown.items())})"


def _ending(name: str, paths: Iterable[str]) -> list[str]:
    """The paths that end with a name."""
    return [path for path in paths if path == name or path.endswith(f".{name}")]


def method_of(config: PeftConfig) -> Method:
    """The method that a PEFT config stands for.

    Raises:
        LightAdaptError: PEFT would need to be in charge of the whole model for it, or a field has no meaning here.
    """
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if kind in ("PREFIX_TUNING", "PROMPT_TUNING"):
        ours = Prefix if kind == "PREFIX_TUNING" else Prompt
        return ours() if config.num_virtual_tokens is None else ours(length=config.num_virtual_tokens)
    if kind == "LN_TUNING" and config.target_modules is None:
        return LayerNorm()
    if kind in NEED_INPUTS:
        raise LightAdaptError(f"PEFT's {kind} needs inputs of its own at every step, which no task here gives.")
    if not hasattr(config, "target_modules") or peft_bridge.keeps_state_apart(config):
        way = method_called(kind) or "one of lightadapt's own methods, or another of PEFT's"
        raise LightAdaptError(
            f"PEFT's {kind} does not work inside a model but around it, which would take its forward from it. "
            f"Use {way}."
        )
    content = json.loads(json.dumps(config.to_dict(), default=_as_json))
    content = {key: value for key, value in content.items() if key not in ("auto_mapping", "runtime_config")}
    for field, (allowed, way) in FIELDS.items():
        if content.get(field) not in (*allowed, None):
            raise LightAdaptError(f"PEFT's {kind}: {field}={content[field]!r} is not supported here. {way}")
    return PeftMethod(config=content)


def names_of_peft() -> list[str]:
    """The names of PEFT's methods as a caller may write them."""
    return [name.lower() for name in peft_bridge.config_types()]


def method_named(name: str) -> Method | None:
    """The method of PEFT of that name, in lower case, with its defaults; None when there is none."""
    if name not in names_of_peft():
        return None
    config_type = peft_bridge.config_types()[name.upper()]
    # AdaLoRA asks for the length of the training; its ranks stay as they start, because Trainer never moves them.
    options = {"total_step": 1000, "init_r": 8} if name == "adalora" else {}
    try:
        config = config_type(**options)
    except (TypeError, ValueError) as error:
        way = f"Pass method={config_type.__name__}(…)."
        raise LightAdaptError(f"PEFT's {name} needs settings ({error}). {way}") from error
    return method_of(config)


def _as_json(value: Any) -> Any:
    return sorted(value) if isinstance(value, (set, frozenset)) else str(getattr(value, "value", value))
