"""Low-rank adaptation (Hu et al. 2021): y = W x + (alpha / rank) B A x, with W frozen and B zero at the start."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from lightadapt import peft_bridge
from lightadapt.anatomy import Anatomy, Block
from lightadapt.errors import LightAdaptError, nearest
from lightadapt.methods.method import Method, check_target_names, find_targets
from lightadapt.methods.ranges import Choice, Range
from lightadapt.numbers import check_flags, check_number, check_positive, check_whole

if TYPE_CHECKING:
    from peft import LoraConfig

INITS = ("default", "gaussian", "pissa", "pissa_niter_16", "olora", "orthogonal")
NEED_DATA = ("eva", "corda", "loftq", "lora_ga")
"""Initialisations of PEFT that need data, gradients or a quantized base, which `adapt` has not."""


@dataclass(frozen=True, kw_only=True)
class LoRA(Method):
    """Low-rank updates of the linear projections of the blocks.

    The experts of a mixture, which transformers keep in one parameter, get updates of their own with
    `targets="all-linear"`; with `dora` or `dropout`, which PEFT does not have for parameters, they are left out.

    >>> LoRA(rank=16, targets="attention").alpha
    16.0
    """

    name: ClassVar[str] = "lora"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"dora": {"dora": True}, "rslora": {"rslora": True}}
    learning_rate: ClassVar[float] = 1e-3
    search: ClassVar[Mapping[str, Range]] = {
        "rank": Choice(4, 8, 16, 32),
        "targets": Choice("all-linear", "attention"),
        "dropout": Choice(0.0, 0.1),
    }

    rank: int = 8
    """Width of the update B A; the trainable parameters grow linearly with it."""
    alpha: float = 16.0
    """The update is scaled by alpha / rank."""
    dropout: float = 0.0
    """Probability with which an input of the update is dropped in training."""
    targets: str | Sequence[str] = "all-linear"
    """`"all-linear"`, `"attention"`, or names of projections such as `["query", "value"]`."""
    dora: bool = False
    """Learn the length of each weight vector apart from its direction (Liu et al. 2024)."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank), which keeps high ranks stable (Kalajdzievski 2023)."""
    init: str = "default"
    """How A and B start: `"default"`, `"gaussian"`, `"orthogonal"`, or from the weights, which are changed such that
    the whole stays the same: `"pissa"` (Meng et al. 2024), `"pissa_niter_16"` (faster), `"olora"`."""
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    """Ranks of single projections: regular expressions of the ends of their paths, such as `{"0.*query": 16}`."""
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    """Alphas of single projections, by regular expressions as above."""

    def __post_init__(self) -> None:
        check_whole("rank", self.rank, owner="LoRA")
        check_positive("alpha", self.alpha, owner="LoRA")
        check_number("dropout", self.dropout, owner="LoRA", least=0, below=1)
        check_target_names("LoRA", self.targets)
        check_flags(owner="LoRA", dora=self.dora, rslora=self.rslora)
        self._check_init()
        self._check_patterns()

    def _check_init(self) -> None:
        if self.init in NEED_DATA:
            raise LightAdaptError(
                f"LoRA(init={self.init!r}) needs data, gradients or a quantized base before training, which adapt(…) "
                f"does not have. Use one of: {', '.join(INITS)}."
            )
        if self.init not in INITS and not re.fullmatch(r"pissa_niter_\d+", str(self.init)):
            raise LightAdaptError(
                f"LoRA(init={self.init!r}) is unknown. {nearest(str(self.init), INITS)}Known: {', '.join(INITS)}"
            )
        if self.dora and self.rewrites_base:
            raise LightAdaptError(f"LoRA(dora=True, init={self.init!r}): PEFT has this start for plain LoRA only.")

    def _check_patterns(self) -> None:
        for name, least in (("rank_pattern", 1), ("alpha_pattern", 1e-6)):
            patterns = getattr(self, name)
            if not isinstance(patterns, Mapping):
                raise LightAdaptError(f"LoRA({name}={patterns!r}): write a dict such as {{'layer.0.*query': 16}}.")
            for pattern, value in patterns.items():
                check_number(f"{name}[{pattern!r}]", value, owner="LoRA", least=least)
                try:
                    re.compile(pattern)
                except (re.error, TypeError) as error:
                    raise LightAdaptError(
                        f"LoRA({name}): {pattern!r} is not a regular expression ({error})."
                    ) from error

    @property
    def rewrites_base(self) -> bool:
        return self.init.startswith(("pissa", "olora"))

    def peft_config(self, anatomy: Anatomy, blocks: Sequence[Block]) -> LoraConfig:
        from peft import LoraConfig

        targets = self._wide_enough(anatomy, find_targets("LoRA(targets=…)", self.targets, blocks))
        experts = self._experts(blocks)
        if not targets and not experts:
            raise LightAdaptError(
                f"LoRA(targets={self.targets!r}): the adapted blocks have no such projection. Use targets='all-linear'."
            )
        for name in ("rank_pattern", "alpha_pattern"):
            self._check_matches(name, targets)
        return LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            target_modules=targets,
            target_parameters=experts or None,
            use_dora=self.dora,
            use_rslora=self.rslora,
            init_lora_weights=True if self.init == "default" else self.init,  # type: ignore[arg-type]
            rank_pattern=_escaped(peft_bridge.values_of(self.rank_pattern, targets)),
            alpha_pattern=_escaped(peft_bridge.values_of(self.alpha_pattern, targets)),
        )

    def _wide_enough(self, anatomy: Anatomy, targets: list[str]) -> list[str]:
        """The targets whose narrow side holds the rank; all must when they are named, most when they are not."""
        ranks = dict.fromkeys(targets, self.rank) | peft_bridge.values_of(self.rank_pattern, targets)
        wide = [path for path in targets if min(anatomy.linears[path]) >= ranks[path]]
        named = self.targets not in ("all-linear", "attention")
        if len(wide) == len(targets) or (2 * len(wide) >= len(targets) and not named):
            return wide
        narrow = min(targets, key=lambda path: min(anatomy.linears[path]))
        raise LightAdaptError(
            f"LoRA(rank={ranks[narrow]}): {narrow} leads from {anatomy.linears[narrow][0]} to "
            f"{anatomy.linears[narrow][1]} values, and a rank above the smaller has no use. "
            f"Choose at most {min(anatomy.linears[narrow])}."
        )

    def _experts(self, blocks: Sequence[Block]) -> list[str]:
        if self.targets != "all-linear" or self.dora or self.dropout or self.rewrites_base:
            return []
        return [name for block in blocks for name in block.experts]

    def _check_matches(self, name: str, targets: Sequence[str]) -> None:
        for pattern in getattr(self, name):
            if not peft_bridge.values_of({pattern: True}, targets):
                raise LightAdaptError(
                    f"LoRA({name}): {pattern!r} matches none of the {len(targets)} adapted projections; they are "
                    f"named like {targets[0]}."
                )

    def settings(self) -> dict[str, Any]:
        values = super().settings()
        return {key: value for key, value in values.items() if value != getattr(LoRA(), key)} | {
            key: values[key] for key in ("rank", "alpha", "dropout", "targets")
        }


def _escaped(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values by patterns that match these paths alone."""
    return {re.escape(path): value for path, value in values.items()}
