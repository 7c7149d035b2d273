"""What `fit` was told of a run, read and checked before any data is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainingArguments
from transformers.training_args import OptimizerNames

from lightadapt.errors import LightAdaptError, nearest, shown
from lightadapt.machine.hardware import require_bitsandbytes
from lightadapt.numbers import check_flags, is_number, wrong_number
from lightadapt.training.checkpoints import check_writable, find_last, newest_first
from lightadapt.training.given import COMPILE, check_given, one_of, read_given
from lightadapt.training.recipe import Recipe, check_recipe

OPTIMIZERS = {"adamw": "adamw_torch_fused", "adamw8bit": "adamw_bnb_8bit", "paged_adamw8bit": "paged_adamw_8bit"}
"""What Trainer calls them. State of 8 bits is that of bitsandbytes (Dettmers et al., 2022, "8-bit Optimizers")."""
CACHES = ("auto", "bf16")
"""What `cache` may be beside True and False."""
SAVE_MINUTES = 10.0
"""Minutes of training that a kill costs at most, where checkpoints are kept."""


@dataclass(frozen=True)
class Settings:
    """What the user asked of a run; None and absent stand for the defaults."""

    epochs: float | None
    learning_rate: float | None
    head_learning_rate: float | None
    """None: in the method's own ratio to `learning_rate`."""
    batch_tokens: int | None
    early_stopping: int | None
    cache: bool | str
    """Whether hidden states are kept over the epochs: `"auto"`, True, False or `"bf16"`."""
    folder: Path | None
    """Where checkpoints are kept."""
    checkpoint: Path | None
    """The checkpoint to go on from."""
    save_minutes: float | None
    """Minutes after which a checkpoint is saved in the middle of an epoch; None: never."""
    base_dropout: bool
    """Whether dropout stays on in the frozen part of the model."""
    others: dict[str, Any]
    """Further arguments of Trainer."""
    recipe: str | None = None
    """What the defaults are those of, by its name; None: it is chosen by the data."""

    @property
    def optimizer(self) -> str:
        """What Trainer calls the optimizer."""
        given = self.others.get("optim", OPTIMIZERS["adamw"])
        return given.value if isinstance(given, OptimizerNames) else str(given)

    @property
    def compiles(self) -> dict[str, Any] | None:
        """What `torch.compile` is told; None: nothing is compiled."""
        chosen = {name: self.others.get(f"{COMPILE}_{name}") for name in ("backend", "mode")}
        if not (self.others.get(COMPILE) or any(chosen.values())):
            return None
        return {"backend": chosen["backend"] or "inductor", "mode": chosen["mode"]}

    def budget(self, recipe: Recipe, tokens: int, records: int) -> int:
        """Real tokens a step: as asked, else as many as the records of a step have on average.

        Trainer's `per_device_train_batch_size` sets another number of records than the recipe.
        """
        per_step = self.others.get("per_device_train_batch_size", recipe.records_per_step)
        return self.batch_tokens or max(1, round(per_step * tokens / records))

    def passes(self, recipe: Recipe, steps_per_epoch: int) -> float:
        """Epochs: as asked, else as many as make the steps that the recipe wants, within its bounds."""
        wanted = math.ceil(recipe.steps_wanted / steps_per_epoch)
        return self.epochs or min(recipe.epochs_most, max(recipe.epochs_least, wanted))


def read_settings(
    args: Mapping[str, Any] | TrainingArguments | None,
    *,
    epochs: float | None = None,
    learning_rate: float | None = None,
    batch_tokens: int | None = None,
    early_stopping: int | None = None,
    resume: bool = False,
    output_dir: str | Path | None = None,
    optimizer: str | None = None,
    cache: bool | str = "auto",
    base_dropout: bool = False,
    validates: bool = False,
    head_learning_rate: float | None = None,
    recipe: str | None = None,
    twice: bool = False,
    save_minutes: float | None = SAVE_MINUTES,
) -> Settings:
    """The settings of a run, checked.

    Args:
        twice: whether there is a second run with the same settings, which would take the checkpoints of the first.

    Raises:
        LightAdaptError: an argument that Trainer does not know, a value said twice or out of range, early
            stopping without validation data, or a folder with the checkpoints of another run.
    """
    check_recipe(recipe)
    others = read_given(args)
    check_given(others, base_dropout=base_dropout)
    chosen = {
        name: one_of(explicit, others.pop(name, None), name)
        for name, explicit in (
            ("num_train_epochs", epochs),
            ("learning_rate", learning_rate),
            ("output_dir", None if output_dir is None else str(output_dir)),
            ("optim", _find_optimizer(optimizer)),
        )
    }
    if chosen["optim"]:
        others["optim"] = chosen["optim"]
    numbers = {
        "epochs": _above_zero("epochs", chosen["num_train_epochs"], float),
        "learning_rate": _above_zero("learning_rate", chosen["learning_rate"], float),
        "head_learning_rate": _above_zero("head_learning_rate", head_learning_rate, float),
        "batch_tokens": _above_zero("batch_tokens", batch_tokens, int),
        "early_stopping": _above_zero("early_stopping", early_stopping, int),
        "save_minutes": _above_zero("save_minutes", save_minutes, float),
    }
    check_flags(base_dropout=base_dropout, resume=resume)
    if early_stopping is not None and not validates:
        raise LightAdaptError("early_stopping needs validation data: fit(train, validation=…, early_stopping=…).")
    if not isinstance(cache, bool) and cache not in CACHES:
        raise LightAdaptError(f"cache={cache!r} is unknown. Known: True, False, {', '.join(map(repr, CACHES))}.")
    if output_dir is not None and not isinstance(output_dir, (str, Path)):
        raise LightAdaptError(f"output_dir={shown(output_dir)}: give the path of a folder.")
    if twice and chosen["output_dir"]:
        raise LightAdaptError(
            "unlabelled=… takes two runs, whose checkpoints cannot be in one output_dir. Leave one out."
        )
    folder = Path(chosen["output_dir"]) if chosen["output_dir"] else None
    return Settings(
        cache=cache,
        folder=folder,
        checkpoint=_find_checkpoint(folder, resume),
        base_dropout=base_dropout,
        others=others,
        recipe=recipe,
        **numbers,
    )


def _above_zero(name: str, value: Any, kind: type) -> Any:
    """The number as plain Python has it, since an artifact holds none of NumPy's; None stays None."""
    if value is None:
        return None
    if not is_number(value) or not 0 < float(value) < math.inf or kind(value) != value:
        raise wrong_number(name, value, "a whole number above 0" if kind is int else "a number above 0")
    return kind(value)


def _find_optimizer(optimizer: str | None) -> str | None:
    """Trainer's name of an optimizer.

    Raises:
        LightAdaptError: an unknown one, or bitsandbytes is missing for one of 8 bits.
    """
    if optimizer is None:
        return None
    if optimizer not in OPTIMIZERS:
        near = nearest(str(optimizer), OPTIMIZERS)
        raise LightAdaptError(
            f"optimizer={optimizer!r} is unknown. {near}Known: {', '.join(OPTIMIZERS)}. For one of Trainer's, "
            "pass args={'optim': …}."
        )
    if optimizer != "adamw":
        require_bitsandbytes(f"optimizer={optimizer!r}", "leave optimizer out")
    return OPTIMIZERS[optimizer]


def _find_checkpoint(folder: Path | None, resume: bool) -> Path | None:
    if folder is None:
        if resume:
            raise LightAdaptError("resume=True needs output_dir=…, the folder with the checkpoints.")
        return None
    check_writable(folder)
    there = newest_first(folder)
    if there and not resume:
        raise LightAdaptError(
            f"output_dir {folder} holds checkpoints of an earlier run ({there[0].name}). Pass resume=True to go on "
            "from there, or choose another folder."
        )
    return find_last(folder)
