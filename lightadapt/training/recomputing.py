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
    named = {name for name, each in inspect.signature(checkpoint).parameters.items() if each.default is not each.empty}
    return {*named, "preserve_rng_state"}  # which the reentrant kind takes out of its other keywords


def is_on(model: PreTrainedModel) -> bool:
    """Whether the model does it now."""
    return bool(getattr(model, f"is_{NAME}"))


def switch_off(model: PreTrainedModel) -> None:
    """Let the model keep what its blocks compute."""
    getattr(model, f"{NAME}_disable")()
