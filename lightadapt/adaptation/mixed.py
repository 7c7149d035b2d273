"""Many adaptations of one base on inputs of their own, in one pass.

The blocks compute the rows of all adaptations together, each row with its own adapter (`peft_bridge.mixing`). Then the
model of each adaptation runs over its own rows, while the blocks hand on what was computed: so its head, its pooling
and whatever else its class does are its own.

Whether a kind of adaptation can be computed so is tried on its first input, beside the pass that it has alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from lightadapt import peft_bridge
from lightadapt.adaptation.batches import Sizes, batches_of_few_shapes
from lightadapt.adaptation.one_token import LastBlock, is_known_to_read, last_block, try_to_read
from lightadapt.adaptation.passing import evaluating, form_of, hands_on_more, hidden_of, outside, standing_in, watching
from lightadapt.adaptation.prediction import suitable_tokens
from lightadapt.adaptation.runner import Runner
from lightadapt.adaptation.trials import are_near
from lightadapt.base.plain_attention import attention_for
from lightadapt.machine.processes import is_sharded
from lightadapt.tasks import Feature, Task

Batch: TypeAlias = "dict[str, Tensor]"
"""The inputs of a model, `(B, T)` each."""
NOBODY = ""
"""A name that no adapter has: its rows are those of the base alone."""


@dataclass
class Part:
    """What one adaptation is to infer from.

    Attributes:
        inferred: what it gives for each feature, once it is known.
    """

    runner: Runner
    task: Task
    features: Sequence[Feature]
    sizes: Sizes
    inferred: list[Any] = field(default_factory=list)

    @cached_property
    def kind(self) -> Hashable:
        """Equal for adaptations that are computed in the same way."""
        return type(self.runner.model), type(self.task), self.runner.adaptation.design.way

    @cached_property
    def blocks(self) -> Sequence[nn.Module]:
        """Of the backbone, in the order in which they run."""
        return _blocks(self.runner)

    @cached_property
    def reads_one_token(self) -> bool:
        """Whether the head reads one token of the last block."""
        return is_known_to_read(self.blocks[-1], self.runner.adaptation, self.task)

    @cached_property
    def frozen_blocks(self) -> int:
        """How many of the lowest blocks compute what they do in the base."""
        design, blocks = self.runner.adaptation.design, self.blocks
        if any(isinstance(module, peft_bridge.BaseTunerLayer) for module in outside(self.runner.model, blocks)):
            return 0  # it may work on the embeddings
        if design.plan.config is None:
            return len(blocks)
        if getattr(design.plan.config, "target_parameters", None):
            return 0  # these are found by name, in whatever block
        return design.blueprint.anatomy.blocks.index(design.plan.blocks[0])


class Mixer:
    """Infers for many adaptations at once; it remembers which kinds of them can be computed so."""

    def __init__(self) -> None:
        self._forms: dict[Hashable, list[int] | None] = {}
        """What the blocks give, by the kind of adaptation; None where it has to compute alone."""

    def knows(self, part: Part) -> bool:
        """Whether one of its kind was tried."""
        return part.kind in self._forms

    def mixes(self, part: Part) -> bool:
        """Whether it can be computed beside others; the first of its kind is tried.

        The caller sees to it that the part's adapter computes.
        """
        if part.kind not in self._forms:
            self._forms[part.kind] = _try(part)
        return self._forms[part.kind] is not None

    def infer(self, parts: Sequence[Part], batch_tokens: int | None, stacks: peft_bridge.Stacks | None) -> None:
        """Infer for parts that mix, all in batches of like length; each part gets what is its own.

        Where adapters that mix alone get into each other's way, the parts stay as they are, to be computed alone.

        Args:
            batch_tokens: tokens of a batch; None: as many as suit the device.
            stacks: what the layers hold for them, where that is known.
        """
        try:
            self._infer(parts, batch_tokens, stacks)
        except peft_bridge.NotMixedError:
            for part in parts:
                part.inferred = []

    def _infer(self, parts: Sequence[Part], batch_tokens: int | None, stacks: peft_bridge.Stacks | None) -> None:
        rows = [(part, place) for part in parts for place in range(len(part.features))]
        costs = [part.sizes.costs[place] for part, place in rows]
        for part in parts:
            part.inferred = [None] * len(part.features)
        _share_blocks(parts)
        tokens = batch_tokens or suitable_tokens(parts[0].runner.model.device)
        with _evaluating(parts, stacks), torch.no_grad():
            for batch in batches_of_few_shapes(costs, tokens):
                chosen = [rows[index] for index in sorted(batch)]  # by part, and within it by place
                groups = [
                    (part, [place for _, place in each]) for part, each in groupby(chosen, key=lambda row: row[0])
                ]
                self._infer_batch(groups, stacks)

    def _infer_batch(self, groups: Sequence[tuple[Part, list[int]]], stacks: peft_bridge.Stacks | None) -> None:
        """One pass of the blocks, and the head of each part on its rows."""
        first, forms = groups[0][0], self._forms[groups[0][0].kind]
        assert forms is not None
        features = [[part.features[place] for place in places] for part, places in groups]
        batch = _collate(first, [feature for each in features for feature in each])
        names = [(part.runner.adaptation.adapter.name, len(places)) for part, places in groups]
        frozen = min(part.frozen_blocks for part, _ in groups)
        last = last_block(first.runner.adaptation) if all(part.reads_one_token for part, _ in groups) else None
        computed = _compute_all(first.runner, batch, names, forms, frozen, stacks, last)
        start = 0
        for (part, places), mine in zip(groups, features, strict=True):
            rows = slice(start, start + len(places))
            given = _head(part, {name: value[rows] for name, value in batch.items()}, computed.part(rows), forms)
            for place, inferred in zip(places, part.task.rows(given, mine), strict=True):
                part.inferred[place] = inferred
            start = rows.stop


@dataclass(frozen=True)
class Computed:
    """What a backbone gave for a batch.

    Attributes:
        backbone: that computed.
        around: what `_around` says of it.
        hidden: of its last block, `(B, T, width)`.
        output: of the backbone, with what it pools; None where it is of no form that is known.
    """

    backbone: nn.Module
    around: list[int]
    hidden: Tensor
    output: Any

    def part(self, rows: slice) -> Computed:
        """Some of the rows; what is not by row, such as a cache, is left out."""
        count = len(self.hidden)
        if not isinstance(self.output, ModelOutput):
            return replace(self, hidden=self.hidden[rows], output=None)
        kept = {
            name: value[rows] if torch.is_tensor(value) and len(value) == count else None
            for name, value in self.output.items()
        }
        return replace(self, hidden=self.hidden[rows], output=type(self.output)(**kept))


def _collate(part: Part, features: Sequence[Feature]) -> Batch:
    """Features of many parts as one batch; they have the same inputs."""
    plain = [replace(feature, targets={}) for feature in features]
    batch = part.task.collate(plain, replace(part.runner.view_of(part.task), few_widths=True))
    return {name: value.to(part.runner.model.device) for name, value in batch.items()}


def _compute_all(
    runner: Runner,
    batch: Batch,
    groups: Sequence[peft_bridge.Group],
    forms: Sequence[int],
    frozen: int = 0,
    stacks: peft_bridge.Stacks | None = None,
    last: LastBlock | None = None,
) -> Computed:
    """What the backbone gives, each group of rows with its adapter.

    Args:
        frozen: how many of the lowest blocks compute what they do in the base: they do it once for equal rows.
        last: the last block, where no head reads more than one token of it.
    """
    rows, owner = _distinct(batch) if frozen else ([], [])
    if len(rows) == len(owner):
        return _compute(runner, batch, groups, forms, range(len(forms)), stacks=stacks, one=last)
    once = {name: value[rows] for name, value in batch.items()}
    below = _compute(runner, once, [(NOBODY, len(rows))], forms, range(frozen)).hidden[owner]
    return _compute(runner, batch, groups, forms, range(frozen, len(forms)), below, stacks, last)


def _compute(
    runner: Runner,
    batch: Batch,
    groups: Sequence[peft_bridge.Group],
    forms: Sequence[int],
    which: range,
    hidden: Tensor | None = None,
    stacks: peft_bridge.Stacks | None = None,
    one: LastBlock | None = None,
) -> Computed:
    """What the backbone gives where some of its blocks compute; those below hand on `hidden`, `(B, T, width)`."""
    blocks = _blocks(runner)
    last = max(which.stop - 1, 0) if which else which.start - 1
    with (
        attention_for(runner.model, batch["input_ids"].shape[1]),
        watching(blocks[last : last + 1]) as seen,
        peft_bridge.mixing(runner.model, groups, batch["input_ids"].shape[1], stacks),
        standing_in(blocks[: which.start], forms[: which.start], hidden),
        standing_in(blocks[which.stop :], forms[which.stop :]),
        nullcontext() if one is None or not which else one.reading(runner.model.base_model),
    ):
        output = runner.model.base_model(**batch)
    backbone = runner.model.base_model
    return Computed(backbone, _around(backbone, blocks), hidden_of(seen[-1][1]), output)


def _distinct(batch: Batch) -> tuple[list[int], list[int]]:
    """The rows of a batch that differ from those before them, and for every row which of them it equals."""
    known: dict[bytes, int] = {}
    rows: list[int] = []
    owner: list[int] = []
    arrays = [value.cpu().numpy() for value in batch.values()]
    for row in range(len(arrays[0])):
        key = b"".join(array[row].tobytes() for array in arrays)
        if key not in known:
            known[key] = len(rows)
            rows.append(row)
        owner.append(known[key])
    return rows, owner


def _head(part: Part, batch: Batch, computed: Computed, forms: Sequence[int]) -> np.ndarray:
    """The logits of a part on its rows, for which the backbone is known."""
    model, blocks, backbone = part.runner.model, part.blocks, part.runner.model.base_model
    alike = backbone is computed.backbone or computed.around == _around(backbone, blocks)
    if computed.output is not None and computed.around and alike:
        replaced = standing_in([backbone], [0], computed.output)
    else:
        peft_bridge.activate(model, (part.runner.adaptation.adapter.name,))
        replaced = standing_in(blocks, forms, computed.hidden)
    with replaced:
        given = model(**batch)
    logits: np.ndarray = part.task.logits_of(given).float().cpu().numpy()
    return logits


def _around(backbone: Any, blocks: Sequence[nn.Module]) -> list[int]:
    """Equal for backbones that compute the same around their blocks; empty where an adapter works there."""
    modules = outside(backbone, blocks)
    if any(isinstance(module, peft_bridge.BaseTunerLayer) for module in modules):
        return []
    return [id(each) for module in modules for each in module._parameters.values()]


def _blocks(runner: Runner) -> Sequence[nn.Module]:
    blocks = runner.adaptation.first_stack
    assert blocks
    return blocks


def _try(part: Part) -> list[int] | None:
    """Compute the first feature alone and beside a row of the base; what the blocks give, None where it differs."""
    runner, task = part.runner, part.task
    model, blocks = runner.model, runner.adaptation.first_stack
    anatomy = runner.adaptation.design.blueprint.anatomy
    if type(task).infer is not Task.infer or not blocks or len(anatomy.stacks) > 1 or is_sharded(model):
        return None
    if not peft_bridge.can_mix(model, runner.adaptation.adapter.name):
        return None
    feature = part.features[0]
    try_to_read(runner.adaptation, task, part.features, runner.view_of(task))
    with _evaluating([part]), torch.no_grad():
        with watching(blocks) as seen:
            alone = task.infer(model, [feature], runner.view_of(task))[0]
        order, outputs = [number for number, _ in seen], [output for _, output in seen]
        if order != list(range(len(blocks))) or any(map(hands_on_more, outputs)):
            return None
        forms = [form_of(output) for output in outputs]
        others = 1 if len(feature) != 2 else 2  # so that rows and tokens cannot be mistaken for each other
        try:
            batch = _collate(part, [feature] * (1 + others))
            groups = [(NOBODY, others), (runner.adaptation.adapter.name, 1)]
            rows = slice(others, None)
            computed = _compute_all(runner, batch, groups, forms).part(rows)
            given = _head(part, {name: value[rows] for name, value in batch.items()}, computed, forms)
            beside = task.rows(given, [feature])[0]
        except Exception:  # whatever a model makes of it: it works alone, which shows its own errors
            return None
        finally:
            runner.adaptation.activate()
    return forms if are_near(beside, alone, runner.adaptation.base.model.dtype) else None


def _share_blocks(parts: Sequence[Part]) -> None:
    """Let parts of one backbone have their blocks looked up once."""
    known: dict[int, Sequence[nn.Module]] = {}
    for part in parts:
        backbone = id(part.runner.model.base_model)
        if backbone not in known:
            known[backbone] = part.blocks
        part.blocks = known[backbone]


def _evaluating(parts: Sequence[Part], stacks: peft_bridge.Stacks | None = None) -> AbstractContextManager[None]:
    """Their models in evaluation mode inside a `with` block; what they share is gone through once."""
    shared = parts[0].runner.model
    modules: list[nn.Module] = []
    for part in parts[1:]:
        model = part.runner.model
        same = model.base_model is shared.base_model
        modules += outside(model, [model.base_model] if same else part.blocks)
    known = stacks or peft_bridge.Stacks(part.runner.adaptation.adapter.name for part in parts)
    if known.is_training(shared):
        modules += shared.modules()
    return evaluating({id(module): module for module in modules}.values())
