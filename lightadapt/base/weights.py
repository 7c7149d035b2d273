"""The weights of a base model: read, quantized on the way, and checked; the same for all that builds one."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from lightadapt import peft_bridge
from lightadapt.anatomy import outermost
from lightadapt.anatomy.auto_classes import mapped_class
from lightadapt.base.blueprint import Blueprint
from lightadapt.base.design import Design
from lightadapt.base.fingerprint import take_fingerprint
from lightadapt.base.four_bits import keep_trainable, unpack
from lightadapt.base.plain_attention import keep_attention_plain
from lightadapt.base.quantization import Quantization, quantization_of, quantized_in, quantized_linears
from lightadapt.base.quantized_modules import (
    cast_unquantized,
    dequantize_modules,
    is_quantized,
    mark_quantized,
    quantize_modules,
)
from lightadapt.base.source import first_line, tensor_names
from lightadapt.errors import LightAdaptError
from lightadapt.heads.models import TASK_MODELS
from lightadapt.heads.outputs import has_named_outputs, keep_float32, name_outputs, output_names, renew_head
from lightadapt.machine.quiet import quiet


@dataclass(frozen=True)
class Base:
    """A model of the task's class with its weights, before anything is inserted."""

    model: PreTrainedModel
    design: Design
    head: frozenset[str]
    """Parameters that are trained with the task: outside the backbone, or freshly initialised."""
    trained_head: bool
    """Whether the head came with the checkpoint."""
    fingerprint: dict[str, str]

    @property
    def blueprint(self) -> Blueprint:
        return self.design.blueprint


def load_base(design: Design) -> Base:
    """The task's model with its weights, its head in float32, on the device.

    Raises:
        LightAdaptError: part of the backbone is not in the checkpoint and would stay random.
    """
    blueprint, quantization = design.blueprint, design.quantization
    if blueprint.source.instance is not None:
        unpack(blueprint.source.instance)  # it may have been evaluated
    if blueprint.ready is not None:
        model, fresh = blueprint.ready, frozenset[str]()
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(design.seed)
            model, fresh = _load(design)
            if quantization_of(blueprint.source.config) is not None:
                cast_unquantized(model, design.dtype)
    keep_trainable(model)
    if quantization is not None:
        trained = blueprint.anatomy.head if design.head is None else design.head
        dequantize_modules(model, (path for path in blueprint.anatomy.linears if f"{path}.weight" in trained))
    head, trained_head = fit_head(model, fresh, design)
    model.to(design.device)  # type: ignore[arg-type]
    if blueprint.ready is None:
        keep_attention_plain(model, design)
    if quantization is not None:
        _quantize_rest(model, design)
    model.eval()
    return Base(model, design, head, trained_head, fingerprint_of(model, head, design))


def fit_head(model: PreTrainedModel, fresh: frozenset[str], design: Design) -> tuple[frozenset[str], bool]:
    """Give the model the head that its task is to have; the parameters of it, and whether it came trained.

    Args:
        fresh: the parameters that the checkpoint did not have.

    Raises:
        LightAdaptError: some of them are no head.
    """
    blueprint, anatomy = design.blueprint, design.blueprint.anatomy
    outputs = blueprint.outputs
    trained_head = not anatomy.head & fresh
    foreign_head = _head_of_another_task(blueprint) or _head_of_other_labels(blueprint)
    if _has_quantized_head_of_another(blueprint) or (trained_head and foreign_head):
        trained_head, fresh = False, fresh | renew_head(model, anatomy.head, outputs, seed=design.seed, keep=False)
    elif outputs and model.config.num_labels != len(outputs):
        trained_head, fresh = False, fresh | renew_head(model, anatomy.head, outputs, seed=design.seed, keep=True)
    name_outputs(model.config, outputs)
    model.config.problem_type = blueprint.config.problem_type
    _check_backbone(model, blueprint, fresh)
    head = anatomy.head | (fresh & anatomy.parameters.keys()) if design.head is None else design.head
    keep_float32(model, outermost(model, head))
    return head, trained_head


def fingerprint_of(model: PreTrainedModel, head: frozenset[str], design: Design) -> dict[str, str]:
    """The fingerprint of the frozen parameters of a model that may have adapters in it."""
    anatomy = design.blueprint.anatomy
    parameters = {peft_bridge.original_name(name): parameter for name, parameter in model.named_parameters()}
    frozen = anatomy.parameters.keys() - head
    return take_fingerprint(parameters, frozen, anatomy.linears, quantized=str(design.quantization or ""))


def _head_of_another_task(blueprint: Blueprint) -> bool:
    """Whether the checkpoint is of another class, whose head only happens to have the same names and shapes."""
    source = blueprint.source
    if source.instance is not None:
        return blueprint.ready is None
    return blueprint.model_class.__name__ not in (source.config.architectures or [blueprint.model_class.__name__])


def _head_of_other_labels(blueprint: Blueprint) -> bool:
    """Whether the checkpoint names its outputs, and they are not those wanted."""
    config = blueprint.source.config
    return bool(blueprint.outputs) and has_named_outputs(config) and set(output_names(config)) != set(blueprint.outputs)


def _has_quantized_head_of_another(blueprint: Blueprint) -> bool:
    """Whether the checkpoint is quantized, and its head, if it has one, is of another task, other labels or size.

    transformers takes the packed weights of such a head for initialised and leaves in the model what was in memory.
    """
    config = blueprint.source.config
    if blueprint.ready is not None or quantization_of(config) is None:
        return False
    resized = len(blueprint.outputs) not in (0, config.num_labels)
    return resized or _head_of_another_task(blueprint) or _head_of_other_labels(blueprint)


def _load(design: Design) -> tuple[PreTrainedModel, frozenset[str]]:
    """The model, and the parameters that its checkpoint did not have."""
    blueprint = design.blueprint
    mapping = key_mapping(blueprint)
    how = {} if design.quantization is None else _quantized_loading(design, design.quantization)
    model, fresh = load_as(blueprint, design.dtype, mapping, how)
    embedding = f"{blueprint.anatomy.embedding}.weight"
    if embedding in fresh and getattr(blueprint.source.config, "tie_word_embeddings", False):
        output = output_layer_of(blueprint.source.config)
        if output is not None:  # the checkpoint keeps the matrix that both share under the name of the other
            mapping = {**mapping, rf"^{re.escape(output)}\.weight$": embedding}
            model, fresh = load_as(blueprint, design.dtype, mapping, how)
    return model, fresh


def _quantized_loading(design: Design, quantization: Quantization) -> dict[str, Any]:
    """What makes transformers quantize tensor by tensor while it loads, so that the whole is never in memory."""
    blueprint, source = design.blueprint, design.blueprint.source
    anatomy = blueprint.anatomy
    quantized = quantized_linears(anatomy, quantization)
    how: dict[str, Any] = {"device_map": {"": design.device}}
    if quantization_of(source.config) is not None:
        names = source.instance.state_dict() if source.instance is not None else tensor_names(source)
        quantized = quantized_in(names, anatomy.linears) if names else quantized
        anew = anatomy.head if _has_quantized_head_of_another(blueprint) else frozenset()
        quantized = tuple(path for path in quantized if f"{path}.weight" not in anew)
    config = quantization.config((path for path in anatomy.linears if path not in quantized), design.dtype)
    if quantization_of(source.config) is not None:
        how["config"] = blueprint.fresh_config()
        how["config"].quantization_config = config.to_dict()
    else:
        how["quantization_config"] = config
    return how


def _quantize_rest(model: PreTrainedModel, design: Design) -> None:
    """Quantize what transformers did not: a model given as an instance, and projections of a class of their own."""
    quantization = design.quantization
    assert quantization is not None
    if quantization_of(design.blueprint.source.config) is None:
        wanted = quantized_linears(design.blueprint.anatomy, quantization)
        left = [path for path in wanted if not is_quantized(model.get_submodule(path))]
        quantize_modules(model, left, quantization, design.dtype)
    mark_quantized(model, quantization)


def load_as(
    blueprint: Blueprint,
    dtype: torch.dtype,
    key_mapping: Mapping[str, str],
    how: Mapping[str, Any],
) -> tuple[PreTrainedModel, frozenset[str]]:
    """The model by `from_pretrained`, and the parameters that were not in what it read.

    Args:
        key_mapping: from names in the checkpoint to names in the model, as regular expressions.
        how: further arguments of `from_pretrained`.

    Raises:
        LightAdaptError: the checkpoint cannot be read.
    """
    source = blueprint.source
    origin: dict[str, Any] = {"revision": source.revision, "trust_remote_code": source.trust_remote_code}
    state = source.state_dict if source.instance is None else source.instance.state_dict()
    if state is not None:
        origin = {"state_dict": state}
    origin = {"config": blueprint.fresh_config(), **origin, **how}
    try:
        with quiet():
            model, report = blueprint.model_class.from_pretrained(
                source.id if state is None else None,
                key_mapping=dict(key_mapping) or None,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # a head with other classes; the backbone is checked afterwards
                **origin,
            )
    except Exception as error:  # the file formats raise many kinds; each means that the checkpoint is unusable
        raise LightAdaptError(f"The weights of {source.name} cannot be loaded ({first_line(error)}).") from error
    model.name_or_path = model.config._name_or_path = source.id or ""  # transformers names one without a file "None"
    mismatched = {entry if isinstance(entry, str) else entry[0] for entry in report["mismatched_keys"]}
    return model, frozenset(report["missing_keys"]) | mismatched


def output_layer_of(config: PretrainedConfig) -> str | None:
    """The path of the layer that a language model of this architecture gives its logits with."""
    for auto_class in ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM", "AutoModelForMaskedLM"):
        model_class = mapped_class(auto_class, config)
        if model_class is not None:
            with torch.device("meta"), quiet():
                model = model_class(copy.deepcopy(config))
            output = model.get_output_embeddings()
            return next((path for path, module in model.named_modules() if module is output), None)
    return None


def key_mapping(blueprint: Blueprint) -> dict[str, str]:
    """Where a task's class calls its backbone otherwise than the checkpoints do, the one name for the other.

    Several decoders do so for question answering; without it the whole backbone would stay random
    (huggingface/transformers#30381).
    """
    bare, ours = mapped_class("AutoModel", blueprint.source.config), blueprint.model_class.base_model_prefix
    if bare is None or issubclass(blueprint.model_class, tuple(TASK_MODELS.values())):
        return {}
    theirs = bare.base_model_prefix
    inside = any(name.startswith(f"{ours}.") for name in blueprint.anatomy.parameters)
    return {rf"^{re.escape(theirs)}\.": f"{ours}."} if theirs and inside and theirs != ours else {}


def _check_backbone(model: PreTrainedModel, blueprint: Blueprint, fresh: frozenset[str]) -> None:
    """Raise when more than a pooler of the backbone, or the output layer of a language model, would stay random.

    What lies outside the blocks and is neither an embedding nor a norm reads the blocks' result: a pooler. It is
    trained with the head. Anything else that is missing means that this is not a checkpoint of this architecture.
    """
    anatomy, source = blueprint.anatomy, blueprint.source
    if blueprint.lm_head and fresh:
        raise LightAdaptError(
            f"{len(fresh)} tensors of {type(model).__name__} are not in the checkpoint {source.name} and would stay "
            f"random, for example {', '.join(sorted(fresh)[:3])}. Task {blueprint.task_name!r} needs a language model "
            "with its output layer; choose the checkpoint of one."
        )
    in_blocks = anatomy.within(path for block in anatomy.blocks for path in block.paths)
    in_linears = anatomy.within(anatomy.linears)
    lost = sorted(name for name in fresh - anatomy.head if name in in_blocks or name not in in_linears)
    if lost:
        raise LightAdaptError(
            f"{len(lost)} tensors of the backbone are not in the checkpoint {source.name} and would stay random, for "
            f"example {', '.join(lost[:3])}. It is not a checkpoint of a {source.config.model_type!r} model; "
            "choose another."
        )
