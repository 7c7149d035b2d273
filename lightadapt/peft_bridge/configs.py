"""The kinds of adapters and their configs, ours among those of PEFT, and adapter_config.json."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTuner
from peft.utils.constants import DUMMY_TARGET_MODULES

from lightadapt.errors import LightAdaptError
from lightadapt.peft_bridge.plain_configs import check_plain

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What stands before a parameter's name in PEFT's files: the path from `PeftModel` to the model."""


class _Kind(str):
    """The `peft_type` of a tuner of ours: `PeftType` is closed, and PEFT and transformers read value and name of it."""

    @property
    def value(self) -> str:
        return str(self)

    @property
    def name(self) -> str:
        return str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Kind, (str(self),)


def tuner_kind(name: str) -> _Kind:
    """What goes into the `peft_type` of the configs of a tuner of ours."""
    return _Kind(name)


def register_tuner(name: str, config: type[PeftConfig], tuner: type[BaseTuner]) -> None:
    """Make a tuner known to PEFT, which then saves, loads, switches and disables it as its own.

    Its parameters are told by their names, in which `{name in lower case}_` must occur.
    """
    kind = tuner_kind(name)
    PEFT_TYPE_TO_CONFIG_MAPPING[kind] = config
    PEFT_TYPE_TO_TUNER_MAPPING[kind] = tuner
    PEFT_TYPE_TO_PREFIX_MAPPING[kind] = f"{name.lower()}_"


def config_types() -> dict[str, type[PeftConfig]]:
    """The config classes of PEFT by the names of their types, those of our own tuners apart."""
    return {
        str(getattr(kind, "value", kind)): config
        for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()
        if not isinstance(kind, _Kind)
    }


def keeps_state_apart(config: PeftConfig) -> bool:
    """Whether PEFT keeps part of the adapter outside the layers, in a place that only its own wrapper has.

    Random projections that are drawn again from their seed are no such part.
    """
    shared = getattr(PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type], "uses_shared_state", True)
    return bool(shared) and not hasattr(config, "save_projection")


def draws_for_the_whole_model(config: PeftConfig) -> bool:
    """Whether random numbers of the adapter depend on all modules that it finds, other adapters' among them."""
    return bool(getattr(PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type], "uses_shared_state", False))


def targets_of(config: PeftConfig) -> set[str]:
    """The modules that a tuner of PEFT takes the place of; none for the tuners of ours, which hang on them."""
    targets = getattr(config, "target_modules", None)
    return set() if isinstance(config.peft_type, _Kind) or not targets else set(targets)


def make_config(content: Mapping[str, Any]) -> PeftConfig:
    """A fresh config from its fields, as they are in adapter_config.json.

    Raises:
        LightAdaptError: a field is unknown, or could make PEFT import, open or load something; see `check_plain`.
    """
    name = content.get("peft_type")
    kind = PEFT_TYPE_TO_CONFIG_MAPPING.get(name) if isinstance(name, str) else None
    if kind is None:
        raise LightAdaptError(
            f"PEFT here has no adapters of the type {str(name)[:60]!r}. If it is new: pip install -U peft"
        )
    check_plain(content, kind)
    fields = {each.name for each in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in content.items() if name in fields})


def write_config(
    path: Path,
    config: PeftConfig | None,
    modules: Sequence[str],
    base: str | None,
    revision: str | None,
    task_type: str | None = None,
) -> None:
    """Write adapter_config.json such that stock PEFT restores the adapter and `modules` (head, trained blocks).

    Without an adapter it is a LoRA config that targets nothing, which PEFT has for this case.

    Args:
        task_type: what PEFT calls the kind of model, by which its AutoPeftModelFor… find the class of the base.
    """
    config = copy.deepcopy(config or LoraConfig(target_modules=DUMMY_TARGET_MODULES))
    content = config.to_dict()
    content.update(modules_to_save=list(modules), base_model_name_or_path=base, revision=revision, inference_mode=True)
    content["task_type"] = task_type
    path.write_text(json.dumps(content, indent=2, sort_keys=True, default=_as_json) + "\n", encoding="utf-8")


def read_config(path: Path) -> PeftConfig | None:
    """The config to insert, without the modules that lightadapt restores itself; None when nothing is inserted.

    Raises:
        LightAdaptError: it is no config of an adapter that can be inserted, or has fields that are not plain.
        ValueError, RecursionError: it is no JSON.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise LightAdaptError(f"it holds a {type(content).__name__}, but the settings of an adapter are needed")
    content.update(modules_to_save=None, inference_mode=False, task_type=None)
    bare = content.get("target_modules") == DUMMY_TARGET_MODULES
    config = make_config(content | ({"target_modules": None} if bare else {}))
    if bare:
        return None
    if not getattr(config, "target_modules", None) and not getattr(config, "target_parameters", None):
        raise LightAdaptError(f"an adapter of the type {content['peft_type']} that names no modules cannot be inserted")
    if not isinstance(config.peft_type, _Kind) and keeps_state_apart(config):
        raise LightAdaptError(f"an adapter of the type {content['peft_type']} works around a model, not inside it")
    return config


def _as_json(value: Any) -> Any:
    if isinstance(value, set):
        return sorted(value)
    return str(value)
