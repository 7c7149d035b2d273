"""The one place that reaches into PEFT: inserting, reading, writing and folding its adapters."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, PeftConfig, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.constants import DUMMY_TARGET_MODULES

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAPTER = "default"
CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What stands before a parameter's name in PEFT's files: the path from `PeftModel` to the model."""


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
    config = PeftConfig.from_peft_type(**content)
    assert isinstance(config, PeftConfig)
    return config


def _config_without_adapter() -> LoraConfig:
    return LoraConfig(target_modules=DUMMY_TARGET_MODULES)


def _as_json(value: Any) -> Any:
    if isinstance(value, set):
        return sorted(value)
    return str(value)
