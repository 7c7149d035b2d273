"""Blocks that are computed anew in the backward pass, which transformers calls by one of two names.

Up to transformers 5.22 it is gradient checkpointing, since then activation checkpointing.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel, TrainingArguments

NAMES = ("activation_checkpointing", "gradient_checkpointing")
NAME = next(name for name in NAMES if hasattr(PreTrainedModel, f"is_{name}"))
"""What this release calls it."""
RENAMED = {f"{old}{end}": f"{NAME}{end}" for old in NAMES if old != NAME for end in ("", "_kwargs")}
"""The options of Trainer under their other name, which is in many scripts, with the one that they have here."""


def is_asked(arguments: TrainingArguments) -> bool:
    """Whether a run is to do it."""
    return bool(getattr(arguments, NAME))


def options(arguments: TrainingArguments) -> Mapping[str, Any]:
    """How a run is to do it, as `torch.utils.checkpoint` takes it."""
    return getattr(arguments, f"{NAME}_kwargs") or {}


def known_options() -> set[str]:
    """What a run may be told of how to do it."""
    own, enable = inspect.signature(checkpoint).parameters, getattr(PreTrainedModel, f"{NAME}_enable")
    named = {name for name, each in own.items() if each.default is not each.empty}
    # The reentrant kind takes the first out of its other keywords; the others are of transformers itself.
    of_model = {name for name in inspect.signature(enable).parameters if name not in ("self", f"{NAME}_kwargs")}
    return {*named, "preserve_rng_state", *of_model}


def is_on(model: PreTrainedModel) -> bool:
    """Whether the model does it now."""
    return bool(getattr(model, f"is_{NAME}"))


def switch_off(model: PreTrainedModel) -> None:
    """Let the model keep what its blocks compute."""
    getattr(model, f"{NAME}_disable")()
