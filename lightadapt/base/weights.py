"""The base model for a task, the same for `adapt` and `load`; everything that can be refused is refused first."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch
from peft import PeftConfig
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from lightadapt import peft_bridge
from lightadapt.anatomy import Anatomy, Family, Layers, family_of, outermost, read_anatomy, read_instance
from lightadapt.base.fingerprint import take_fingerprint
from lightadapt.base.four_bits import keep_trainable, unpack
from lightadapt.base.quantization import (
    Quantization,
    dequantize_modules,
    is_quantized,
    mark_quantized,
    quantization_of,
    quantize_modules,
    quantized_in,
    quantized_linears,
)
from lightadapt.base.quantized_modules import cast_unquantized
from lightadapt.base.source import Source, first_line, tensor_names
from lightadapt.errors import LightAdaptError
from lightadapt.heads.models import TASK_MODELS, mapped_class
from lightadapt.heads.outputs import has_named_outputs, keep_float32, name_outputs, output_names, renew_head
from lightadapt.machine.quiet import quiet
from lightadapt.methods import Method, PeftMethod, Plan
from lightadapt.tasks import TASKS, Task

LEAST_TOKENS = 8
"""The shortest text that a model must be able to read."""
PLAIN_ATTENTION_UP_TO = 1024
"""Positions up to which the scores of attention are small beside the rest."""
RESERVED = 2
"""Positions that some tables keep for padding."""


@dataclass(frozen=True)
class Blueprint:
    """What a base model will be, known from its config alone."""

    source: Source
    task: Task
    outputs: tuple[str, ...]
    """Names of the head's outputs; none when the labels are not known yet."""
    model_class: type[PreTrainedModel]
    anatomy: Anatomy

    @property
    def ready(self) -> PreTrainedModel | None:
        """The instance that already is a model of the task."""
        instance = self.source.instance
        return instance if isinstance(instance, self.model_class) else None


@dataclass(frozen=True)
class Base:
    """A model of the task's class with its weights, before anything is inserted."""

    model: PreTrainedModel
    blueprint: Blueprint
    head: frozenset[str]
    """Parameters that are trained with the task: outside the backbone, or freshly initialised."""
    trained_head: bool
    """Whether the head came with the checkpoint."""
    dtype: torch.dtype
    """Number format of the frozen weights; of a quantized model, of those that are not quantized."""
    fingerprint: dict[str, str]
    quantization: Quantization | None = None


def draw(source: Source, task: Task, outputs: tuple[str, ...] | None = None) -> Blueprint:
    """The blueprint of the task's model on this base, built on the meta device.

    Args:
        outputs: names of the head's outputs, when their order is fixed already.

    Raises:
        LightAdaptError: the task or the architecture cannot be served.
    """
    model_class = task_class(source, task)
    if outputs is None:
        outputs = task.outputs()
        known = output_names(source.config)
        if outputs and set(known) == set(outputs):  # a head trained on these labels keeps their order
            outputs = known
    if isinstance(source.instance, model_class):
        anatomy = read_instance(source.instance)
    else:
        anatomy = read_anatomy(model_class, task_config(source.config, task, outputs))
    anatomy = with_task_head(anatomy, task, family_of(source.config))
    return Blueprint(source, task, outputs, model_class, anatomy)


def with_task_head(anatomy: Anatomy, task: Task, family: Family) -> Anatomy:
    """The anatomy as the task sees it: the output layer of a language model is pretrained, no head to be learned."""
    return replace(anatomy, head=frozenset()) if task.uses_lm_head(family) else anatomy


def task_class(source: Source, task: Task) -> type[PreTrainedModel]:
    """The class that serves the task on this architecture: transformers' own, else a backbone with a linear head.

    Raises:
        LightAdaptError: the task is none for this family of models, or nobody has a class for it.
    """
    family = family_of(source.config)
    if family not in task.auto_classes:
        able = " or ".join(f"an {name}" if name[0] in "aeiou" else f"a {name}" for name in task.auto_classes)
        raise LightAdaptError(
            f"Task {task.name!r} needs {able}, but {source.name} ({source.config.model_type}) is "
            f"{'a decoder' if family == 'decoder' else f'an {family}'}.{_served(source)}"
        )
    auto_class = task.auto_classes[family]
    suffix = auto_class.removeprefix("AutoModel")
    if source.instance is not None and type(source.instance).__name__.endswith(suffix):
        return type(source.instance)
    remote = getattr(source.config, "auto_map", {})
    if source.trust_remote_code and auto_class in remote:
        from transformers.dynamic_module_utils import get_class_from_dynamic_module

        return get_class_from_dynamic_module(remote[auto_class], source.id, revision=source.revision)  # type: ignore[no-any-return]
    found = _find_class(source.config, task)
    if found is None:
        raise LightAdaptError(
            f"transformers has no model {suffix} for the architecture {source.config.model_type!r} ({source.name}), "
            f"so it cannot serve task {task.name!r}.{_served(source)} An instance of a class of your own works too, "
            f"when its name ends in {suffix}."
        )
    return found


def _find_class(config: PretrainedConfig, task: Task | type[Task]) -> type[PreTrainedModel] | None:
    family = family_of(config)
    auto_class = task.auto_classes.get(family, "")
    found, bare = mapped_class(auto_class, config), mapped_class("AutoModel", config)
    if found is not None or bare is None:
        return found
    if family == "encoder-decoder":
        return None  # a linear head reads one text; which of two streams it should read is not ours to guess
    if "input_ids" not in signature(bare.forward).parameters:
        return None  # a model of pictures or of sound
    return TASK_MODELS.get(auto_class.removeprefix("AutoModel"))


def _served(source: Source) -> str:
    able = [name for name, other in TASKS.items() if _find_class(source.config, other) is not None]
    return f" It serves: {', '.join(able)}." if able else ""


def task_config(config: PretrainedConfig, task: Task, outputs: Sequence[str]) -> PretrainedConfig:
    """A copy of the config for the task's head with these outputs."""
    config = copy.deepcopy(config)
    config.problem_type = task.problem_type
    name_outputs(config, outputs)
    return config


def load_base(
    blueprint: Blueprint,
    *,
    dtype: torch.dtype,
    seed: int,
    device: torch.device,
    head: frozenset[str] | None = None,
    quantization: Quantization | None = None,
) -> Base:
    """The task's model with its weights, its head in float32, on the device.

    Args:
        dtype: of the frozen weights that are not quantized.
        seed: of what is freshly initialised.
        quantization: the form in which the linear projections of the blocks are kept.
        head: the parameters that are trained with the task, when that is settled already; else what lies outside
            the backbone, and what the checkpoint does not have.

    Raises:
        LightAdaptError: part of the backbone is not in the checkpoint and would stay random.
    """
    anatomy, outputs = blueprint.anatomy, blueprint.outputs
    if blueprint.source.instance is not None:
        unpack(blueprint.source.instance)  # it may have been evaluated
    if blueprint.ready is not None:
        model, fresh = blueprint.ready, frozenset[str]()
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model, fresh = _load(blueprint, dtype, quantization, device)
            if quantization_of(blueprint.source.config) is not None:
                cast_unquantized(model, dtype)
    keep_trainable(model)
    if quantization is not None:
        trained = anatomy.head if head is None else head
        dequantize_modules(model, (path for path in anatomy.linears if f"{path}.weight" in trained))
    trained_head = not anatomy.head & fresh
    foreign_head = _head_of_another_task(blueprint) or _head_of_other_labels(blueprint)
    if _has_quantized_head_of_another(blueprint) or (trained_head and foreign_head):
        trained_head, fresh = False, fresh | renew_head(model, anatomy.head, outputs, seed=seed, keep=False)
    elif outputs and model.config.num_labels != len(outputs):
        trained_head, fresh = False, fresh | renew_head(model, anatomy.head, outputs, seed=seed, keep=True)
    name_outputs(model.config, outputs)
    model.config.problem_type = blueprint.task.problem_type
    _check_backbone(model, blueprint, fresh)
    if head is None:
        head = anatomy.head | (fresh & anatomy.parameters.keys())
    keep_float32(model, outermost(model, head))
    model.to(device)  # type: ignore[arg-type]
    if blueprint.ready is None and dtype == torch.bfloat16 and device.type == "cpu":
        _keep_attention_plain(model)
    if quantization is not None:
        _quantize_rest(model, blueprint, quantization, dtype)
    model.eval()
    frozen = anatomy.parameters.keys() - head
    fingerprint = take_fingerprint(model, frozen, anatomy.linears, quantized=str(quantization or ""))
    return Base(model, blueprint, head, trained_head, dtype, fingerprint, quantization)


def _keep_attention_plain(model: PreTrainedModel) -> None:
    """Keep attention off torch's fused kernel, whose backward pass in bfloat16 takes half of a step on a CPU.

    Plain attention keeps every score, so this is for models of short texts only.
    """
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if isinstance(longest, int) and longest <= PLAIN_ATTENTION_UP_TO:
        model.set_attn_implementation("eager")


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


def _load(
    blueprint: Blueprint, dtype: torch.dtype, quantization: Quantization | None, device: torch.device
) -> tuple[PreTrainedModel, frozenset[str]]:
    """The model, and the parameters that its checkpoint did not have."""
    mapping = _key_mapping(blueprint)
    how = {} if quantization is None else _quantized_loading(blueprint, dtype, quantization, device)
    model, fresh = _load_as(blueprint, dtype, mapping, how)
    embedding = f"{blueprint.anatomy.embedding}.weight"
    if embedding in fresh and getattr(blueprint.source.config, "tie_word_embeddings", False):
        output = _output_layer(blueprint.source.config)
        if output is not None:  # the checkpoint keeps the matrix that both share under the name of the other
            mapping = {**mapping, rf"^{re.escape(output)}\.weight$": embedding}
            model, fresh = _load_as(blueprint, dtype, mapping, how)
    return model, fresh


def _quantized_loading(
    blueprint: Blueprint, dtype: torch.dtype, quantization: Quantization, device: torch.device
) -> dict[str, Any]:
    """What makes transformers quantize tensor by tensor while it loads, so that the whole is never in memory."""
    anatomy, source = blueprint.anatomy, blueprint.source
    quantized = quantized_linears(anatomy, quantization)
    how: dict[str, Any] = {"device_map": {"": device}}
    if quantization_of(source.config) is not None:
        names = source.instance.state_dict() if source.instance is not None else tensor_names(source)
        quantized = quantized_in(names, anatomy.linears) if names else quantized
        anew = anatomy.head if _has_quantized_head_of_another(blueprint) else frozenset()
        quantized = tuple(path for path in quantized if f"{path}.weight" not in anew)
    config = quantization.config((path for path in anatomy.linears if path not in quantized), dtype)
    if quantization_of(source.config) is not None:
        how["config"] = task_config(source.config, blueprint.task, blueprint.outputs)
        how["config"].quantization_config = config.to_dict()
    else:
        how["quantization_config"] = config
    return how


def _quantize_rest(
    model: PreTrainedModel, blueprint: Blueprint, quantization: Quantization, dtype: torch.dtype
) -> None:
    """Quantize what transformers did not: a model given as an instance, and projections of a class of their own."""
    if quantization_of(blueprint.source.config) is None:
        wanted = quantized_linears(blueprint.anatomy, quantization)
        left = [path for path in wanted if not is_quantized(model.get_submodule(path))]
        quantize_modules(model, left, quantization, dtype)
    mark_quantized(model, quantization)


def _load_as(
    blueprint: Blueprint, dtype: torch.dtype, key_mapping: dict[str, str], how: dict[str, Any]
) -> tuple[PreTrainedModel, frozenset[str]]:
    source = blueprint.source
    origin: dict[str, Any] = {"revision": source.revision, "trust_remote_code": source.trust_remote_code}
    state = source.state_dict if source.instance is None else source.instance.state_dict()
    if state is not None:
        origin = {"state_dict": state}
    origin = {"config": task_config(source.config, blueprint.task, blueprint.outputs), **origin, **how}
    try:
        with quiet():
            model, report = blueprint.model_class.from_pretrained(
                source.id if state is None else None,
                key_mapping=key_mapping or None,
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


def _output_layer(config: PretrainedConfig) -> str | None:
    """The path of the layer that a language model of this architecture gives its logits with."""
    for auto_class in ("AutoModelForCausalLM", "AutoModelForSeq2SeqLM", "AutoModelForMaskedLM"):
        model_class = mapped_class(auto_class, config)
        if model_class is not None:
            with torch.device("meta"), quiet():
                model = model_class(copy.deepcopy(config))
            output = model.get_output_embeddings()
            return next((path for path, module in model.named_modules() if module is output), None)
    return None


def _key_mapping(blueprint: Blueprint) -> dict[str, str]:
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
    trained with the head. Anything else that is missing means that this is no checkpoint of this architecture.
    """
    anatomy, source = blueprint.anatomy, blueprint.source
    if blueprint.task.uses_lm_head(family_of(source.config)) and fresh:
        raise LightAdaptError(
            f"{len(fresh)} tensors of {type(model).__name__} are not in the checkpoint {source.name} and would stay "
            f"random, for example {', '.join(sorted(fresh)[:3])}. Task {blueprint.task.name!r} needs a language model "
            "with its output layer; choose the checkpoint of one."
        )
    in_blocks = anatomy.within(path for block in anatomy.blocks for path in block.paths)
    in_linears = anatomy.within(anatomy.linears)
    lost = sorted(name for name in fresh - anatomy.head if name in in_blocks or name not in in_linears)
    if lost:
        raise LightAdaptError(
            f"{len(lost)} tensors of the backbone are not in the checkpoint {source.name} and would stay random, for "
            f"example {', '.join(lost[:3])}. It is no checkpoint of a {source.config.model_type!r} model; "
            "choose another."
        )


def insert_without_weights(
    model_class: type[PreTrainedModel], config: PretrainedConfig, inserted: PeftConfig | None
) -> PreTrainedModel:
    """A model of the meta device with this inserted, to count what it adds, and to see whether it fits.

    Raises:
        LightAdaptError: it does not.
    """
    with torch.device("meta"), quiet():
        model = model_class(copy.deepcopy(config))
        if inserted is not None:
            inserted = copy.deepcopy(inserted)
            if hasattr(inserted, "init_lora_weights"):
                inserted.init_lora_weights = True  # other starts compute with the weights, which are not there
            peft_bridge.insert(model, inserted)
    return model


def plan_for(blueprint: Blueprint, method: Method, layers: Layers) -> Plan:
    """What the method does to the model of the blueprint; a config of PEFT is tried on it without weights.

    Raises:
        LightAdaptError: the method or the layers do not fit.
    """
    plan = method.plan(blueprint.anatomy, layers)
    lm_head = blueprint.task.uses_lm_head(family_of(blueprint.source.config))
    check_learns(method, plan, blueprint.source.name, lm_head=lm_head)
    if isinstance(method, PeftMethod) and plan.config is not None and blueprint.ready is None:
        config = task_config(blueprint.source.config, blueprint.task, blueprint.outputs)
        try:
            insert_without_weights(blueprint.model_class, config, plan.config)
        except LightAdaptError as error:
            if not isinstance(error.__cause__, RuntimeError):  # which the meta device raises where values are read
                raise
    return plan


def check_learns(method: Method, plan: Plan, name: str, *, lm_head: bool) -> None:
    """Raise when nothing would be trained: no method, and no head where a task uses the output layer that there is."""
    if lm_head and plan.config is None and not plan.unfrozen:
        raise LightAdaptError(
            f"Method {method.name!r} trains a head alone, but this task uses the output layer that {name} has. Choose "
            "another method, such as 'lora'."
        )


def check_room(config: PretrainedConfig, tokenizer: Any, method: Method) -> None:
    """Raise when what a method adds to every input leaves the text no room."""
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    limits = [tokenizer.model_max_length, *([positions - RESERVED] if isinstance(positions, int) else [])]
    left = min(limits) - method.extra_tokens
    if method.extra_tokens and left < LEAST_TOKENS:
        raise LightAdaptError(
            f"{method}: the learned tokens leave {max(left, 0)} of the model's {min(limits)} positions to the text, "
            f"which needs at least {LEAST_TOKENS}. Choose a smaller length."
        )


def max_length(model: PreTrainedModel, tokenizer: Any) -> int:
    """The most tokens that a sequence may have, specials included.

    The smallest of what the tokenizer says and what the positions allow. Position tables with a padding row
    (RoBERTa's) number tokens from behind that row, so they hold fewer tokens than rows. 512 when nobody says.
    """
    config = model.config.get_text_config()
    limits = [tokenizer.model_max_length] if tokenizer.model_max_length < 10**6 else []
    positions = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        unused = [
            module.padding_idx + 1
            for module in model.modules()
            if isinstance(module, nn.Embedding)
            and module.padding_idx is not None
            and module.num_embeddings == positions != config.vocab_size
        ]
        limits.append(positions - max(unused, default=0))
    return min(limits, default=512)
