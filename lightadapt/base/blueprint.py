"""What a base model will be for a task, known from its config alone; what cannot be served is refused here."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from inspect import signature

import torch
from peft import PeftConfig
from transformers import PretrainedConfig, PreTrainedModel

from lightadapt import peft_bridge
from lightadapt.anatomy import Anatomy, family_of, read_anatomy, read_instance
from lightadapt.anatomy.auto_classes import mapped_class
from lightadapt.base.source import Source
from lightadapt.errors import LightAdaptError
from lightadapt.heads.models import TASK_MODELS
from lightadapt.heads.outputs import name_outputs, output_names
from lightadapt.machine.quiet import quiet
from lightadapt.tasks import TASKS, Task


@dataclass(frozen=True)
class Blueprint:
    """A model of a base, without a weight."""

    source: Source
    model_class: type[PreTrainedModel]
    config: PretrainedConfig
    """The base's, with the outputs of the head; transformers changes what it is given, so `fresh_config` copies it."""
    anatomy: Anatomy
    outputs: tuple[str, ...] = ()
    """Names of the head's outputs; none when the labels are not known yet."""
    task_name: str = ""
    """The task that it serves; empty for the bare model."""
    lm_head: bool = False
    """Whether the task uses the output layer of a language model, which is pretrained and no head to be learned."""

    @property
    def ready(self) -> PreTrainedModel | None:
        """The instance that already is a model of the task."""
        instance = self.source.instance
        return instance if isinstance(instance, self.model_class) else None

    def fresh_config(self) -> PretrainedConfig:
        """A copy of the config."""
        return copy.deepcopy(self.config)

    def model_without_weights(self, inserted: PeftConfig | None = None) -> PreTrainedModel:
        """A model of the meta device with this inserted, to count what it adds, and to see whether it fits.

        Raises:
            LightAdaptError: it does not.
        """
        with torch.device("meta"), quiet():
            model = self.model_class(self.fresh_config())
            if inserted is not None:
                peft_bridge.insert(model, peft_bridge.without_weights(inserted))
        return model


def make_blueprint(source: Source, task: Task, outputs: tuple[str, ...] | None = None) -> Blueprint:
    """The blueprint of the task's model on this base.

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
    config = task_config(source.config, task, outputs)
    instance = source.instance if isinstance(source.instance, model_class) else None
    anatomy = read_anatomy(model_class, config) if instance is None else read_instance(instance)
    lm_head = task.uses_lm_head(family_of(source.config))
    anatomy = replace(anatomy, head=frozenset()) if lm_head else anatomy
    return Blueprint(source, model_class, config, anatomy, outputs, task.name, lm_head)


def make_bare_blueprint(source: Source) -> Blueprint:
    """The blueprint of the model itself, without a task: an instance as it is, else the bare backbone.

    Raises:
        LightAdaptError: transformers does not know the architecture.
    """
    if source.instance is not None:
        anatomy = read_instance(source.instance)
        return Blueprint(replace(source, instance=None), type(source.instance), source.config, anatomy)
    bare = mapped_class("AutoModel", source.config)
    if bare is None:
        raise LightAdaptError(f"transformers has no model for the architecture {source.config.model_type!r}.")
    return Blueprint(source, bare, source.config, read_anatomy(bare, source.config))


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
