"""The one place that reaches into PEFT: inserting, reading, writing and folding its adapters."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import (
    LoraConfig,
    PeftConfig,
    get_peft_model_state_dict,
)
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.ia3.layer import IA3Layer
from peft.tuners.ln_tuning.layer import LNTuningLayer
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils.constants import DUMMY_TARGET_MODULES
from torch import nn

from lightadapt.errors import LightAdaptError
from lightadapt.peft_bridge.lean_lora import LeanLinear, make_lean
from lightadapt.processes import shard_like

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["BaseTuner", "BaseTunerLayer", "PeftConfig", "register_tuner", "tuner_kind"]

ADAPTER = "default"
"""The name of the first adapter."""
CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
QUANTIZED = ("is_loaded_in_8bit", "is_loaded_in_4bit")
"""Attributes of a model by which PEFT tells that its linear modules may be quantized."""
FAR = 0.5
"""Share of its output by which rounded weights may move a layer: NF4 and FP4 move it by about a tenth."""
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


def insert(model: PreTrainedModel, config: PeftConfig, name: str = ADAPTER) -> None:
    """Insert an adapter into the model in place; the model keeps its class and its forward.

    Raises:
        LightAdaptError: the config does not fit the model.
    """
    config = copy.deepcopy(config)  # PEFT changes the config it is given
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unsupported layer type", UserWarning)  # norms are, and work
        warnings.filterwarnings("ignore", "fan_in_fan_out is set", UserWarning)  # PEFT sees by itself what it is
        tuner = PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type]
        # PEFT rewrites LoRA's targets for mixtures of experts by the names they had in transformers 4, which hits
        # other modules of these names, too (shared experts). It does so for models with a config only.
        place = _hide_config(model) if isinstance(config, LoraConfig) else model
        try:
            tuner(place, config, adapter_name=name)
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
            kind = type(config).__name__
            raise LightAdaptError(f"{kind} does not fit this model ({type(error).__name__}: {error}).") from error
    model.peft_config = {**getattr(model, "peft_config", {}), name: config}
    model._hf_peft_config_loaded = True
    for layer in _layers(model):
        make_lean(layer)
        if isinstance(layer, LNTuningLayer) and name in layer.ln_tuning_layers:
            _take_out_attached(layer.ln_tuning_layers[name])
    _check_saved(model, name)
    if model.dtype != torch.float32:
        for layer in _layers(model):
            if isinstance(layer, LNTuningLayer) and name in layer.ln_tuning_layers:
                _compute_in_float32(layer.ln_tuning_layers[name])
            if isinstance(layer, IA3Layer) and name in layer.ia3_l:
                layer.register_forward_hook(partial(_return_as, model.dtype))  # on quantized weights it gives float32
            for path, buffer in layer.named_buffers():
                if not path.startswith("base_layer.") and buffer.is_floating_point():
                    buffer.data = buffer.data.float()


def _take_out_attached(norm: nn.Module) -> None:
    """Free a copy of a norm from the copies of other adapters that hang on it."""
    for layer in _layers(norm):
        if hasattr(layer, "detach_from_host"):
            layer.detach_from_host()


def _check_saved(model: PreTrainedModel, name: str) -> None:
    """Raise when PEFT would not save all that the adapter trains."""
    saved = {tensor.data_ptr() for tensor in _tensors(model, name).values()}
    trained = adapter_parameters(model, name)
    lost = [
        path for path, parameter in model.named_parameters() if path in trained and parameter.data_ptr() not in saved
    ]
    if lost:
        raise LightAdaptError(f"PEFT does not save {lost[0]} with the adapter, so its training would be lost.")


def _hide_config(model: nn.Module) -> nn.Module:
    """A module without a config that holds the model; the paths inside end as before."""
    holder = nn.Module()
    holder.add_module("model", model)
    for name in QUANTIZED:
        setattr(holder, name, getattr(model, name, False))
    return holder


def _compute_in_float32(norm: nn.Module) -> None:
    """A norm that is trained has float32 weights, among neighbours that compute in half precision."""
    norm.register_forward_hook(_return_as_given)
    norm.register_forward_pre_hook(_take_as_weights)
    norm.float()


def _take_as_weights(norm: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    norm.input_dtype = args[0].dtype
    return (args[0].to(next(norm.parameters()).dtype), *args[1:])


def _return_as_given(norm: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
    return output.to(norm.input_dtype)


def _return_as(dtype: torch.dtype, module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
    return output.to(dtype)


def _layers(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


def _names(layer: Any) -> set[str]:
    """The adapters that a layer holds."""
    return set(layer._all_available_adapter_names())


def adapted_modules(model: nn.Module, name: str = ADAPTER) -> list[str]:
    """The paths of the modules that the adapter works on."""
    return [
        path for path, module in model.named_modules() if isinstance(module, BaseTunerLayer) and name in _names(module)
    ]


def use(model: nn.Module, name: str | None) -> None:
    """Let the layers that hold this adapter apply it, and all others none; None: the base model alone."""
    for layer in _layers(model):
        if name in _names(layer):
            layer.enable_adapters(True)
            layer.set_adapter(name)
        else:
            layer.enable_adapters(False)


def adapter_tensors(model: PreTrainedModel, name: str = ADAPTER) -> dict[str, torch.Tensor]:
    """The adapter's tensors under the names of PEFT's files, without their prefix; none without an adapter."""
    return {_without_foreign_layers(model, key, name): tensor for key, tensor in _tensors(model, name).items()}


def _tensors(model: PreTrainedModel, name: str) -> dict[str, torch.Tensor]:
    """The adapter's tensors as PEFT names them, with the layers of other adapters in their paths."""
    if not adapted_modules(model, name):
        return {}
    others = tuple(  # PEFT tells adapters apart by the model's own list, which knows none of those that share its base
        f"{path}.{attribute}.{other}"
        for path, module in model.named_modules()
        if isinstance(module, BaseTunerLayer)
        for attribute in (*module.adapter_layer_names, *module.other_param_names)
        for other in _names(module) - {name}
    )
    state = model.state_dict()
    if others:
        state = {key: value for key, value in state.items() if not _lies_in(key, others)}
    return dict(get_peft_model_state_dict(model, state, adapter_name=name, save_embedding_layers=False))


def _without_foreign_layers(model: nn.Module, key: str, name: str) -> str:
    """The key as it would be without the layers that other adapters have wrapped around the module."""
    kept: list[str] = []
    module: Any = model
    for part in key.split("."):
        foreign = part == "base_layer" and isinstance(module, BaseTunerLayer) and name not in _names(module)
        kept += [] if foreign else [part]
        module = getattr(module, part, None)
    return ".".join(kept)


def _lies_in(key: str, paths: Sequence[str]) -> bool:
    return any(key == path or key.startswith(f"{path}.") for path in paths)


def adapter_parameters(model: nn.Module, name: str = ADAPTER) -> set[str]:
    """The names in `named_parameters()` of the adapter's own parameters."""
    names = set()
    for path, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            own = [f"{path}.{attribute}.{name}" for attribute in module.adapter_layer_names]
            inside = {f"{path}.{inner}" for inner, _ in module.named_parameters()}
            names |= {each for each in inside if _lies_in(each, own)}
    return names


def base_layer(module: nn.Module) -> Any:
    """The module of the model itself, without the layers that PEFT wraps around it."""
    return module.get_base_layer() if isinstance(module, BaseTunerLayer) else module


def original_name(parameter: str) -> str:
    """The name that a parameter of the model has without the layers that PEFT wraps around its module."""
    return ".".join(part for part in parameter.split(".") if part != "base_layer")


def load_adapter_tensors(model: PreTrainedModel, tensors: Mapping[str, torch.Tensor], name: str = ADAPTER) -> None:
    """Write tensors named as by `adapter_tensors` into the inserted adapter."""
    with torch.no_grad():  # PEFT's own way to load renames what it takes for a mixture of experts of transformers 4
        for key, place in _tensors(model, name).items():
            place.copy_(shard_like(place, tensors[_without_foreign_layers(model, key, name)]))


def fold(model: PreTrainedModel, name: str = ADAPTER) -> None:
    """Add the adapter to the weights and take all adapters out, in place.

    Raises:
        NotImplementedError: the adapter is no change of weights.
    """
    layers = _layers(model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Merge lora module to", UserWarning)  # rounding: it is measured afterwards
        for layer in layers:
            if name in _names(layer):
                layer.merge(safe_merge=True, adapter_names=[name])
    for layer in layers:
        if hasattr(layer, "detach_from_host"):
            layer.detach_from_host()
    while wrapped := [path for path, module in model.named_modules() if isinstance(module, BaseTunerLayer)]:
        model.set_submodule(wrapped[0], model.get_submodule(wrapped[0]).get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config
    model._hf_peft_config_loaded = False


@contextmanager
def folded(model: nn.Module, name: str = ADAPTER) -> Iterator[None]:
    """The adapter in the weights for the time of a `with` block; then they are, bit for bit, those of before."""
    layers = [layer for layer in _layers(model) if name in _names(layer)]
    before = [(tensor, tensor.data) for layer in layers for tensor in layer.get_base_layer().parameters(recurse=False)]
    try:
        for layer in layers:
            layer.merge(safe_merge=True, adapter_names=[name])  # into new tensors
        yield
    finally:
        for layer in layers:
            layer.merged_adapters.clear()
        for tensor, data in before:
            tensor.data = data


def size_of_folding(model: nn.Module, name: str = ADAPTER) -> int:
    """Bytes of the weights that `folded` makes; 0 where what the model gives would differ by more than rounding."""
    layers = [layer for layer in _layers(model) if name in _names(layer)]
    if not all(type(layer) is LeanLinear and layer.active_adapters == [name] for layer in layers):
        return 0
    if any(layer.disable_adapters or layer.merged_adapters for layer in layers):
        return 0
    weights = [layer.get_base_layer().weight for layer in layers]
    tied = len({id(weight) for weight in weights}) < len(weights)  # the update would count twice
    rounded = any(weight.dtype != torch.float32 for weight in weights)
    return 0 if tied or rounded else sum(weight.nbytes for weight in weights)


def targets_of(config: PeftConfig) -> set[str]:
    """The modules that a tuner of PEFT takes the place of; none for the tuners of ours, which hang on them."""
    targets = getattr(config, "target_modules", None)
    return set() if isinstance(config.peft_type, _Kind) or not targets else set(targets)


def try_on(
    config: PeftConfig | None, widths: tuple[int, int], device: torch.device, prepare: Callable[[nn.Module], None]
) -> str:
    """Try an adapter, or none, on one prepared linear layer; what went wrong, or "".

    At the start it must give about what it gives on the layer as it was: a tuner that takes the codes of quantized
    weights for their values raises nothing. Then come two steps of training with an evaluation between.

    Args:
        widths: of what goes into the layer, and of what comes out.
        prepare: what is done to a module that holds the layer as `layer`, before the adapter comes.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        layer, inputs = nn.Linear(*widths).to(device), torch.randn(2, 3, widths[0]).to(device).requires_grad_()
        plain, holder = _hold(copy.deepcopy(layer)), _hold(layer)
        try:
            prepare(holder)
            for each in (plain, holder):
                torch.manual_seed(0)
                _insert_at_layer(each.eval(), config)
            with torch.no_grad():
                expected, found = plain.layer(inputs), holder.layer(inputs)
            apart = float((found - expected).norm() / expected.norm())
            if not apart < FAR:
                return f"what it gives is {apart:.0%} away from what it gives on plain weights"
            return _train_layer(holder, inputs) if config is not None else ""
        except Exception as error:  # whatever a tuner makes of weights that it does not know
            return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def _hold(layer: nn.Linear) -> Any:
    """A module that holds the layer as `layer`."""
    holder = nn.Module()
    holder.add_module("layer", layer)
    return holder


def _insert_at_layer(holder: Any, config: PeftConfig | None) -> None:
    if config is None:
        return
    config = copy.deepcopy(config)
    config.target_modules = {"layer"}
    for name, value in (("target_parameters", None), ("rank_pattern", {}), ("alpha_pattern", {})):
        if hasattr(config, name):
            setattr(config, name, value)
    if getattr(config, "feedforward_modules", None):
        config.feedforward_modules = {"layer"}
    PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](holder, config, adapter_name=ADAPTER)


def _train_layer(holder: Any, inputs: torch.Tensor) -> str:
    """Two steps of training with an evaluation between; what went wrong, or an empty text."""
    names = adapter_parameters(holder)
    trained = [parameter for name, parameter in holder.named_parameters() if name in names]
    for _ in range(2):
        holder.train()
        holder.layer(inputs).sum().backward()
        if not trained or any(parameter.grad is None for parameter in trained if parameter.requires_grad):
            return "no gradient reaches it"
        holder.eval()
        with torch.no_grad():
            holder.layer(inputs)
    return ""


def check_foldable(model: nn.Module, name: str = ADAPTER, *, onto_these: bool) -> None:
    """Try to fold one layer of each kind, in a copy.

    Args:
        onto_these: whether it is to be folded into the weights of this model; else what PEFT can do with other weights
            is not tried.

    Raises:
        NotImplementedError: the adapter is no change of weights.
    """
    kinds = {type(layer): layer for layer in _layers(model) if name in _names(layer)}
    for layer in kinds.values():
        if not onto_these and not hasattr(layer, "detach_from_host"):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT warns of rounding, which is measured elsewhere
            try:
                copy.deepcopy(layer).merge(adapter_names=[name])
            except (AttributeError, RuntimeError, TypeError, ValueError) as error:  # on weights that it does not know
                raise NotImplementedError(str(error).partition("\n")[0]) from error


def base_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of the model itself, under the names that they have without adapters."""
    inserted = [
        f"{path}.{attribute}"
        for path, layer in model.named_modules()
        if isinstance(layer, BaseTunerLayer)
        for attribute in (*layer.adapter_layer_names, *layer.other_param_names)
    ]
    return {original_name(key): value for key, value in model.state_dict().items() if not _lies_in(key, inserted)}


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


def make_config(content: Mapping[str, Any]) -> PeftConfig:
    """A fresh config from its fields, as they are in adapter_config.json."""
    config = PeftConfig.from_peft_type(**content)
    assert isinstance(config, PeftConfig)
    return config


def write_config(
    path: Path, model: PreTrainedModel, name: str, modules: Sequence[str], base: str | None, revision: str | None
) -> None:
    """Write adapter_config.json such that stock PEFT restores the adapter and `modules` (head, trained blocks).

    Without an adapter it is a LoRA config that targets nothing, which PEFT has for this case.
    """
    config = copy.deepcopy(model.peft_config[name]) if adapted_modules(model, name) else _config_without_adapter()
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
