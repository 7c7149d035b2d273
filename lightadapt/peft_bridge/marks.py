"""The marks by which PEFT and transformers tell that a model holds adapters, and which."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft import PeftConfig


def is_marked(model: Any) -> bool:
    """Whether the model says that it holds adapters, whoever inserted them."""
    return bool(getattr(model, "peft_config", None))


def mark(model: Any, name: str, config: PeftConfig) -> None:
    """Let the model say that it holds this adapter."""
    model.peft_config = {**getattr(model, "peft_config", {}), name: config}
    model._hf_peft_config_loaded = True


def unmark(model: Any, name: str) -> None:
    """Let the model no longer say that it holds this adapter; without any it is as it was before the first."""
    others = {other: config for other, config in getattr(model, "peft_config", {}).items() if other != name}
    if others:
        model.peft_config = others
    else:
        unmark_all(model)


def unmark_all(model: Any) -> None:
    """Let the model say that it holds no adapter."""
    vars(model).pop("peft_config", None)
    vars(model).pop("_hf_peft_config_loaded", None)  # of the class it is False


def rename_mark(model: Any, name: str, new: str) -> None:
    """Let the model call this adapter by another name."""
    if is_marked(model):
        model.peft_config = {new if each == name else each: config for each, config in model.peft_config.items()}


@contextmanager
def marked(model: Any) -> Iterator[None]:
    """The model passes for one with an adapter: Trainer takes no quantized model of which the head alone is trained."""
    before = getattr(model, "_hf_peft_config_loaded", False)
    model._hf_peft_config_loaded = True
    try:
        yield
    finally:
        model._hf_peft_config_loaded = before
