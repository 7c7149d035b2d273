"""The one place that reaches into PEFT: inserting, reading, writing and folding its adapters."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, PeftConfig, get_peft_model_state_dict, set_peft_model_state_dict
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils.constants import DUMMY_TARGET_MODULES

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["BaseTuner", "BaseTunerLayer", "PeftConfig", "register_tuner", "tuner_kind"]

ADAPTER = "default"
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

    def __str__(self) -> str:
        return "".join(self)

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


def insert(model: PreTrainedModel, config: PeftConfig) -> None:
    """Insert the adapter into the model in place; the model keeps its class and its forward."""
    model.add_adapter(copy.deepcopy(config), ADAPTER)  # PEFT changes the config it is given


def adapted_modules(model: PreTrainedModel) -> list[str]:
    """The paths of the modules that an adapter layer is around."""
    return [path for path, module in model.named_modules() if isinstance(module, BaseTunerLayer)]


def adapter_tensors(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """The adapter's tensors under the names of PEFT's files, without their prefix; none without an adapter."""
    if not adapted_modules(model):
        return {}
    return dict(get_peft_model_state_dict(model, adapter_name=ADAPTER, save_embedding_layers=False))


def adapter_parameters(model: PreTrainedModel) -> set[str]:
    """The names in `named_parameters()` of the adapter's own parameters."""
    names = set()
    for path, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            inside = {f"{path}.{name}" for name, _ in module.named_parameters()}
            names |= {name for name in inside if not name.startswith(f"{path}.base_layer.")}
    return names


def load_adapter_tensors(model: PreTrainedModel, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors named as by `adapter_tensors` into the inserted adapter."""
    set_peft_model_state_dict(model, dict(tensors), adapter_name=ADAPTER)


def fold(model: PreTrainedModel) -> None:
    """Add the adapter to the weights and take its layers out, in place.

    Raises:
        NotImplementedError: the adapter is no change of weights.
    """
    for path, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge(safe_merge=True)
            model.set_submodule(path, module.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config
    model._hf_peft_config_loaded = False


def config_types() -> dict[str, type[PeftConfig]]:
    """The config classes of PEFT by the names of their types, those of our own tuners apart."""
    return {
        str(getattr(kind, "value", kind)): config
        for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()
        if not isinstance(kind, _Kind)
    }


def make_config(content: Mapping[str, Any]) -> PeftConfig:
    """A fresh config from its fields, as they are in adapter_config.json."""
    config = PeftConfig.from_peft_type(**content)
    assert isinstance(config, PeftConfig)
    return config


def write_config(
    path: Path, model: PreTrainedModel, modules: Sequence[str], base: str | None, revision: str | None
) -> None:
    """Write adapter_config.json such that stock PEFT restores the adapter and `modules` (head, trained blocks).

    Without an adapter it is a LoRA config that targets nothing, which PEFT has for this case.
    """
    config = copy.deepcopy(model.peft_config[ADAPTER]) if adapted_modules(model) else _config_without_adapter()
    content = config.to_dict()
    content.update(modules_to_save=list(modules), base_model_name_or_path=base, revision=revision, inference_mode=True)
    path.write_text(json.dumps(content, indent=2, sort_keys=True, default=_as_json) + "\n", encoding="utf-8")


def read_config(path: Path) -> PeftConfig | None:
    """The config to insert, without the modules that lightadapt restores itself; None when nothing is inserted."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("target_modules") == DUMMY_TARGET_MODULES:
        return None
    content.update(modules_to_save=None, inference_mode=False)
    return make_config(content)


def _config_without_adapter() -> LoraConfig:
    return LoraConfig(target_modules=DUMMY_TARGET_MODULES)


def _as_json(value: Any) -> Any:
    if isinstance(value, set):
        return sorted(value)
    return str(value)
