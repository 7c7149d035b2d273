"""What a model is made of, and what each method would train in it, before a weight is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from lightadapt import peft_bridge
from lightadapt.anatomy import Anatomy, Block, Layers, family_of, read_anatomy, read_instance
from lightadapt.base.description import as_rows
from lightadapt.base.memory import Memory, as_size, estimate_memory
from lightadapt.base.quantization import Quantization, Quantize, check_device, resolve_quantization, settle_quantization
from lightadapt.base.quantized_trial import check_quantization
from lightadapt.base.source import Source, find_source, first_line
from lightadapt.base.weights import check_learns, insert_without_weights, task_class, task_config, with_task_head
from lightadapt.errors import LightAdaptError
from lightadapt.heads.models import mapped_class
from lightadapt.machine.hardware import choose_dtype, planned_device
from lightadapt.methods import NAMES, Method, Plan, resolve_method
from lightadapt.tasks import Task, resolve_task

MOST_TOKENS = 2**22
"""Of a step; their ids are real."""


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
        return "\n".join([as_rows(facts), *_describe_blocks(anatomy), *methods])

    __repr__ = __str__


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
    if batch_tokens is not None and (type(batch_tokens) is not int or not 1 <= batch_tokens <= MOST_TOKENS):
        raise LightAdaptError(f"batch_tokens={batch_tokens!r}: give a whole number from 1 to {MOST_TOKENS:,}.")
    source = _source_of(model)
    quantization = settle_quantization(quantize, source.config, source.name)
    model_class, config = _class_of(source, task)
    ready = source.instance if task is None else None
    anatomy = read_anatomy(model_class, config) if ready is None else read_instance(ready)
    if task is not None:
        anatomy = with_task_head(anatomy, resolve_task(task), family_of(source.config))
    sizes = {name: prod(shape) for name, shape in anatomy.parameters.items()}
    lm_head = task is not None and resolve_task(task).uses_lm_head(family_of(source.config))
    place = planned_device(device)
    look = _Look(model_class, config, anatomy, layers, quantization, dtype, place, batch_tokens, lm_head, source.name)
    facts: dict[str, Any] = {
        "name": source.name,
        "model_class": model_class.__name__,
        "anatomy": anatomy,
        "total": sum(sizes.values()),
        "head": sum(sizes[name] for name in anatomy.head),
    }
    if method is None:
        counts, peaks = look.at_all_methods()
        return Inspection(
            **facts,
            memory=look.memory_of(Plan(blocks=(), config=None, unfrozen=frozenset())),
            methods=counts,
            peaks=peaks,
        )
    chosen = resolve_method(method)
    plan = look.plan_of(chosen)
    return Inspection(
        **facts,
        method=chosen,
        plan=plan,
        trainable=look.count(plan),
        memory=look.memory_of(plan, batch_tokens, chosen.extra_tokens),
    )


@dataclass(frozen=True)
class _Look:
    """A model and how it would be adapted, the method apart."""

    model_class: type[PreTrainedModel]
    config: PretrainedConfig
    anatomy: Anatomy
    layers: Layers
    quantization: Quantization | None
    dtype: Any
    device: torch.device
    batch_tokens: int | None
    lm_head: bool
    """Whether the task uses the output layer of a language model."""
    name: str

    def plan_of(self, method: Method) -> Plan:
        """What a method would do.

        Raises:
            LightAdaptError: it does not fit.
        """
        plan = method.plan(self.anatomy, self.layers)
        check_learns(method, plan, self.name, lm_head=self.lm_head)
        if self.quantization is not None:
            check_device(self.quantization, self.device)
        here = torch.device("cpu")  # the device that is planned for need not be there
        check_quantization(self.anatomy, method, plan, self.quantization, here)
        choose_dtype(self.dtype, self.device, trains_base=bool(plan.unfrozen))
        return plan

    def count(self, plan: Plan) -> int:
        """The parameters that are trained outside the head, counted in a model of the meta device."""
        own = sum(prod(self.anatomy.parameters[name]) for name in plan.unfrozen)
        if plan.config is None:
            return own
        model = insert_without_weights(self.model_class, self.config, plan.config)
        names = peft_bridge.adapter_parameters(model)
        return own + sum(int(parameter.numel()) for name, parameter in model.named_parameters() if name in names)

    def memory_of(self, plan: Plan, batch_tokens: int | None = None, extra_tokens: int = 0) -> Memory:
        """What training takes."""
        return estimate_memory(
            self.model_class,
            self.config,
            self.anatomy,
            plan,
            dtype=choose_dtype(self.dtype, self.device, trains_base=bool(plan.unfrozen)),
            device=self.device,
            quantization=self.quantization,
            batch_tokens=batch_tokens,
            extra_tokens=extra_tokens,
        )

    def at_all_methods(self) -> tuple[dict[str, int | str], dict[str, int | None]]:
        """What each method would train or why it cannot, and its peak where a number of tokens is given."""
        counts: dict[str, int | str] = {}
        peaks: dict[str, int | None] = {}
        self.anatomy.choose_blocks(self.layers)  # a wrong choice of layers is no fault of a method
        for name in NAMES:
            try:
                method = resolve_method(name)
                plan = self.plan_of(method)
                counts[name] = self.count(plan)
                if self.batch_tokens is not None:
                    peaks[name] = self.memory_of(plan, self.batch_tokens, method.extra_tokens).peak
            except LightAdaptError as error:
                counts[name] = str(error)
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
            raise LightAdaptError(f"{model} is no config of a model ({first_line(error)}).") from error
    return find_source(model)


def _class_of(source: Source, task: str | Task | None) -> tuple[type[PreTrainedModel], PretrainedConfig]:
    if task is not None:
        chosen = resolve_task(task)
        return task_class(source, chosen), task_config(source.config, chosen, chosen.outputs())
    if source.instance is not None:
        return type(source.instance), source.config
    bare = mapped_class("AutoModel", source.config)
    if bare is None:
        raise LightAdaptError(f"transformers has no model for the architecture {source.config.model_type!r}.")
    return bare, source.config


# ---- printing


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


def _describe_blocks(anatomy: Anatomy) -> list[str]:
    """The blocks by kind: those of one stack whose parts have the same names and widths."""
    lines = []
    for stack in anatomy.stacks:
        blocks = [block for block in anatomy.blocks if block.stack == stack]
        kinds: dict[tuple[Any, ...], list[Block]] = {}
        for block in blocks:
            kinds.setdefault(tuple(_describe_block(block, anatomy)), []).append(block)
        lines += ["", f"{stack}: {len(blocks)} {'block' if len(blocks) == 1 else 'blocks'}, width {blocks[0].width}"]
        for rows, same in kinds.items():
            if len(kinds) > 1:
                lines.append(f"  blocks {_ranges([anatomy.blocks.index(block) for block in same])}")
            lines += [f"    {row}" for row in rows]
    return lines


def _describe_block(block: Block, anatomy: Anatomy) -> list[str]:
    rows = []
    for attention in block.attentions:
        kind = "cross-attention" if attention.across else "attention"
        seen = attention.key_values
        rows.append(f"{kind:<16} {_short(attention.path, block)}" + (f", {seen.heads} heads of keys" if seen else ""))
        for role in ("query", "key", "value", "fused", "output", "other"):
            rows += _projections(role, getattr(attention, role), block, anatomy)
    for part in block.feed_forwards:
        rows.append(f"{'experts' if part.mixture else 'feed-forward':<16} {_short(part.path or '', block)}".rstrip())
        for role in ("up", "down", "other", "gates"):
            rows += _projections(role, getattr(part, role), block, anatomy)
        rows += [f"  {'experts':<14} {_short(name, block)} {anatomy.parameters[name]}" for name in part.experts]
    if block.norms:
        rows.append(f"{'norms':<16} {', '.join(_short(path, block) for path in block.norms)}")
    return rows


def _projections(role: str, paths: Sequence[str], block: Block, anatomy: Anatomy) -> list[str]:
    shown = [f"{_short(path, block)} ({' -> '.join(map(str, anatomy.linears[path]))})" for path in paths]
    return [f"  {role:<14} {', '.join(shown)}"] if shown else []


def _short(path: str, block: Block) -> str:
    around = next((each for each in block.paths if path.startswith(f"{each}.")), None)
    return path if around is None else path.removeprefix(f"{around}.")


def _ranges(numbers: Sequence[int]) -> str:
    """The numbers with runs written as `0-5`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
