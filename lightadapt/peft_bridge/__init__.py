"""The one place that reaches into PEFT: inserting, reading, writing and folding its adapters."""

from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer

from lightadapt.peft_bridge.active import activate, active_in, switched_off
from lightadapt.peft_bridge.adapter import Adapter
from lightadapt.peft_bridge.as_lora import (
    Factors,
    Update,
    lora_config,
    lora_tensors,
    updates_of,
    with_stock_adapter,
    without_adapters,
)
from lightadapt.peft_bridge.configs import (
    CONFIG_NAME,
    PREFIX,
    WEIGHTS_NAME,
    config_types,
    draws_for_the_whole_model,
    keeps_state_apart,
    make_config,
    read_config,
    register_tuner,
    targets_of,
    tuner_kind,
    write_config,
)
from lightadapt.peft_bridge.insertion import insert, without_weights
from lightadapt.peft_bridge.layers import ADAPTER, base_layer, base_tensors, is_training, original_name
from lightadapt.peft_bridge.marks import is_marked, marked
from lightadapt.peft_bridge.mixing import Group, Mixing, NotMixedError, can_mix, each_group, each_rows, mixing, rows_of
from lightadapt.peft_bridge.one_layer import try_on
from lightadapt.peft_bridge.patterns import paths_of, values_of
from lightadapt.peft_bridge.removal import unwrap_empty
from lightadapt.peft_bridge.stacks import Stacks

__all__ = [
    "ADAPTER",
    "CONFIG_NAME",
    "PREFIX",
    "WEIGHTS_NAME",
    "Adapter",
    "BaseTuner",
    "BaseTunerLayer",
    "Factors",
    "Group",
    "Mixing",
    "NotMixedError",
    "PeftConfig",
    "Stacks",
    "Update",
    "activate",
    "active_in",
    "base_layer",
    "base_tensors",
    "can_mix",
    "config_types",
    "draws_for_the_whole_model",
    "each_group",
    "each_rows",
    "insert",
    "is_marked",
    "is_training",
    "keeps_state_apart",
    "lora_config",
    "lora_tensors",
    "make_config",
    "marked",
    "mixing",
    "original_name",
    "paths_of",
    "read_config",
    "register_tuner",
    "rows_of",
    "switched_off",
    "targets_of",
    "try_on",
    "tuner_kind",
    "unwrap_empty",
    "updates_of",
    "values_of",
    "with_stock_adapter",
    "without_adapters",
    "without_weights",
    "write_config",
]
