"""The one place that reaches into PEFT: inserting, reading, writing and folding its adapters."""

from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer

from lightadapt.peft_bridge.adapter import Adapter, activate
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
    without_values,
    write_config,
)
from lightadapt.peft_bridge.folding import check_foldable, fold, folded_if_it_pays
from lightadapt.peft_bridge.insertion import insert
from lightadapt.peft_bridge.layers import (
    ADAPTER,
    adapted_modules,
    adapter_parameters,
    adapter_tensors,
    base_layer,
    base_tensors,
    load_adapter_tensors,
    original_name,
    use,
)
from lightadapt.peft_bridge.one_layer import try_on

__all__ = [
    "ADAPTER",
    "CONFIG_NAME",
    "PREFIX",
    "WEIGHTS_NAME",
    "Adapter",
    "BaseTuner",
    "BaseTunerLayer",
    "PeftConfig",
    "activate",
    "adapted_modules",
    "adapter_parameters",
    "adapter_tensors",
    "base_layer",
    "base_tensors",
    "check_foldable",
    "config_types",
    "draws_for_the_whole_model",
    "fold",
    "folded_if_it_pays",
    "insert",
    "keeps_state_apart",
    "load_adapter_tensors",
    "make_config",
    "original_name",
    "read_config",
    "register_tuner",
    "targets_of",
    "try_on",
    "tuner_kind",
    "use",
    "without_values",
    "write_config",
]
