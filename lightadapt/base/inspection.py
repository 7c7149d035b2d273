"""What a model is made of, and what each method would train in it, before a weight is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from lightadapt.anatomy import Anatomy, Layers
from lightadapt.base.anatomy_table import describe_blocks
from lightadapt.base.blueprint import Blueprint, make_bare_blueprint, make_blueprint
from lightadapt.base.description import as_rows
from lightadapt.base.design import Design, make_design, number_format
from lightadapt.base.memory import FLOAT32, Memory, as_size, estimate_memory
from lightadapt.base.quantization import Quantization, Quantize, resolve_quantization, settle_quantization
from lightadapt.base.source import Source, find_source, first_line
from lightadapt.errors import LightAdaptError
from lightadapt.machine.hardware import planned_device
from lightadapt.methods import NAMES, Method, Plan, resolve_method
from lightadapt.methods.probe import Probe
from lightadapt.numbers import check_whole
from lightadapt.suggestions.calls import explained
from lightadapt.suggestions.foreign_names import ADAPT
from lightadapt.tasks import Task, resolve_task

MOST_TOKENS = 2**22
"""The tokens that a step may have; their ids are real."""


@dataclass(frozen=True)
class Inspection:
    """The anatomy of a model and the size of what methods train; printed, it is a table."""

    name: str
    model_class: str
    anatomy: Anatomy
    total: int
    """Parameters of the model, the head among them."""
    head: int
    """Parameters of the head."""
    method: Method | None = None
    plan: Plan | None = None
    """What the method does; None without a method."""
    trainable: int | None = None
    """Parameters that the method trains, the head not counted; None without a method."""
    methods: dict[str, int | str] = field(default_factory=dict)
    """Without a method: what each one would train, or why it cannot."""
    memory: Memory | None = None
    """What training with the method takes; without a method, the weights alone."""
    peaks: dict[str, int | None] = field(default_factory=dict)
    """Without a method, for a given number of tokens: the peak of training with each one, in bytes."""

    def __str__(self) -> str:
        anatomy = self.anatomy
        facts = {
            "model": f"{self.name} ({self.model_class})",
            "parameters": f"{self.total:,}, {self.head:,} of them in the head",
            "read from": "its modules and a dry run" if anatomy.traced else f"its modules alone ({anatomy.stopped_by})",
            "embedding": anatomy.embedding or "not found",
        }
        if anatomy.idle:
            idle = sum(prod(anatomy.parameters[name]) for name in anatomy.idle)
            facts["not in use"] = f"{idle:,} parameters that no output depends on"
        if self.method is not None and self.trainable is not None and self.plan is not None:
            facts["method"] = str(self.method)
            facts["adapted"] = f"{len(self.plan.blocks)} of {len(anatomy.blocks)} blocks"
            facts["trainable"] = f"{_share(self.trainable, self.total)}, and the head"
        if self.memory is not None:
            facts |= self.memory.rows()
        methods = _describe_methods(self.methods, self.total, self.peaks)
        return "\n".join([as_rows(facts), *describe_blocks(anatomy), *methods])

    __repr__ = __str__


@explained(ADAPT)
def inspect(
    model: Any,
    *,
    task: str | Task | None = None,
    method: Any = None,
    layers: Layers = None,
    quantize: Quantize = None,
    dtype: Any = "auto",
    device: str = "auto",
    batch_tokens: int | None = None,
) -> Inspection:
    """The anatomy of a model, what methods would train in it and what that takes; no weights are loaded.

    >>> from transformers import BertConfig
    >>> inspect(BertConfig(), method="lora").trainable
    1327104

    Args:
        model: hub id, folder, config file, a `PretrainedConfig`, or a `PreTrainedModel`.
        task: the task whose head the model would have; None: the bare model.
        method: as in `adapt`; None: all methods are listed.
        layers: as in `adapt`.
        quantize: as in `adapt`.
        dtype: as in `adapt`.
        device: where it would be trained; it need not be there.
        batch_tokens: tokens of a training step, for an estimate of its peak of memory.

    Raises:
        LightAdaptError: there is no such model, or the method, the layers or the quantization do not fit it.
    """
    resolve_quantization(quantize)
    if batch_tokens is not None:
        check_whole("batch_tokens", batch_tokens, most=MOST_TOKENS)
    source = _source_of(model)
    form = settle_quantization(quantize, source.config, source.name)
    blueprint = make_bare_blueprint(source) if task is None else make_blueprint(source, resolve_task(task))

    def design_of(chosen: Method) -> Design:
        return make_design(
            blueprint, chosen, layers=layers, quantization=form, dtype=dtype, device=device, present=False
        )

    facts = _facts_of(blueprint)
    if method is None:
        counts, peaks = _try_all_methods(blueprint.anatomy, layers, design_of, batch_tokens)
        return Inspection(
            **facts, memory=estimate_memory(_untrained(blueprint, form, dtype, device)), methods=counts, peaks=peaks
        )
    design = design_of(resolve_method(method))
    memory = estimate_memory(design, batch_tokens)
    return Inspection(
        **facts, method=design.method, plan=design.plan, trainable=memory.adapter // FLOAT32, memory=memory
    )


def _untrained(blueprint: Blueprint, quantization: Quantization | None, dtype: Any, device: str) -> Design:
    """The model in which nothing but its head is trained."""
    place, plan = planned_device(device), Plan(blocks=(), config=None, unfrozen=frozenset())
    return Design(
        blueprint=blueprint,
        method=Probe(),
        plan=plan,
        layers=None,
        quantization=quantization,
        dtype=number_format(blueprint, plan, dtype, place),
        device=place,
    )


def _facts_of(blueprint: Blueprint) -> dict[str, Any]:
    """What an inspection says whatever the method."""
    sizes = {name: prod(shape) for name, shape in blueprint.anatomy.parameters.items()}
    return {
        "name": blueprint.source.name,
        "model_class": blueprint.model_class.__name__,
        "anatomy": blueprint.anatomy,
        "total": sum(sizes.values()),
        "head": sum(sizes[name] for name in blueprint.anatomy.head),
    }


def _try_all_methods(
    anatomy: Anatomy, layers: Layers, design_of: Callable[[Method], Design], batch_tokens: int | None
) -> tuple[dict[str, int | str], dict[str, int | None]]:
    """What each method would train or why it cannot, and its peak where a number of tokens is given."""
    counts: dict[str, int | str] = {}
    peaks: dict[str, int | None] = {}
    anatomy.choose_blocks(layers)  # a wrong choice of layers is no fault of a method
    for name in NAMES:
        try:
            memory = estimate_memory(design_of(resolve_method(name)), batch_tokens)
        except LightAdaptError as error:
            counts[name] = str(error)
        else:
            counts[name] = memory.adapter // FLOAT32
            if batch_tokens is not None:
                peaks[name] = memory.peak
    return counts, peaks


def _source_of(model: Any) -> Source:
    if isinstance(model, PretrainedConfig):
        return Source(model, None)
    if isinstance(model, (str, Path)) and Path(model).suffix == ".json":
        if not Path(model).is_file():
            raise LightAdaptError(f"There is no config file {model} (looked from {Path.cwd()}).")
        try:
            return Source(AutoConfig.from_pretrained(str(model)), str(model))
        except Exception as error:  # as in find_source
            raise LightAdaptError(f"{model} is not the config of a model ({first_line(error)}).") from error
    return find_source(model)


def _share(count: int, total: int) -> str:
    return f"{count:,} parameters ({100 * count / total:.3g}%)"


def _describe_methods(methods: dict[str, int | str], total: int, peaks: dict[str, int | None]) -> list[str]:
    if not methods:
        return []
    width = max(map(len, methods))
    lines = ["", f"What each method would train, beside the head{', and the peak of memory' if peaks else ''}:"]
    for name, count in methods.items():
        shown = f"{count:>15,}  {100 * count / total:.3g}%" if isinstance(count, int) else f"refused: {count}"
        if name in peaks:
            peak = peaks[name]
            shown = f"{shown:<24}  {'not known' if peak is None else as_size(peak)}"
        lines.append(f"  {name:<{width}}  {shown}")
    return lines
