"""Which fields of a PEFT config may come from a file: plain values that no library takes for something to run.

PEFT and what it works through import modules, open files and load tokenizers that fields of a config name. Nothing here
needs such fields, so they have to be empty wherever a config is made from its fields.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from peft import PeftConfig

from lightadapt.errors import LightAdaptError, nearest

RESOLVED = {
    "megatron_config": "lets PEFT import the module that megatron_core names",
    "auto_mapping": "names a library and a class to import",
    "arrow_config": "routes through adapters that it names",
    "adapters": "names folders of adapters to load",
    "corda_config": "names files to unpickle",
    "eva_config": "needs data",
    "lora_ga_config": "names a file to unpickle",
    "loftq_config": "rewrites the base",
    "prompt_tuning_init_state_dict_path": "names a file of weights",
    "tokenizer_name_or_path": "names a tokenizer to load",
    "tokenizer_kwargs": "is handed to a tokenizer's loader, trust_remote_code with it",
    "shadow_model": "names a model to load",
    "layer_replication": "copies blocks of the base",
    "runtime_config": "is no part of a saved config",
}
"""Fields with which a config reaches beyond itself, and what each of them does."""
MEGATRON = "megatron.core"
"""What PEFT has in `megatron_core` whether Megatron is used or not."""
DEEPEST, LARGEST = 3, 2**64
"""How deep values may be nested, and how large a number may be."""


def check_plain(content: Mapping[str, Any], known: type[PeftConfig]) -> None:
    """Raise for fields that the config's class does not have, that reach beyond the config, or that are not plain.

    An unknown field that is None is nothing but a newer PEFT's.

    Raises:
        LightAdaptError: which field, and why.
    """
    fields = {each.name for each in dataclasses.fields(known)}
    kind = str(getattr(content.get("peft_type"), "value", content.get("peft_type")))
    for name, value in content.items():
        if name not in fields and value is not None:
            raise LightAdaptError(
                f"PEFT's {kind} has no field {str(name)[:60]!r}. {nearest(name, fields)}Remove it; if a newer PEFT "
                "wrote it: pip install -U peft"
            )
        if name in RESOLVED and value not in (None, {}, [], ""):
            raise LightAdaptError(f"{name} {RESOLVED[name]}, which is never done here. Remove it.")
        if not _is_plain(value):
            raise LightAdaptError(f"{name} is not a plain value of a config: {_shown(value)}.")
    if content.get("megatron_core") not in (None, MEGATRON):
        raise LightAdaptError(f"megatron_core names a module to import, which is never done here. Write {MEGATRON!r}.")


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a value is made of names, finite numbers, lists and dicts."""
    if isinstance(value, (list, tuple, set, dict)):
        inner = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        return depth < DEEPEST and all(_is_plain(each, depth + 1) for each in inner)
    if isinstance(value, (int, float)):
        return abs(value) < LARGEST  # seeds are large; this is false for NaN
    return value is None or isinstance(value, str)


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, a list in a list in …
        text = type(value).__name__
    return text if len(text) <= 60 else f"{text[:60]}…"
