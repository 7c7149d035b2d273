"""What goes wrong in silence when adapters are trained, turned into errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from lightadapt import peft_bridge
from lightadapt.adaptation.adaptation import Adaptation
from lightadapt.adaptation.runner import Runner
from lightadapt.data import Data
from lightadapt.data.skipping import BadRecords, usable
from lightadapt.errors import LightAdaptError, warn
from lightadapt.tasks import ModelView, Task
from lightadapt.tasks.encoding.features import IGNORED
from lightadapt.tasks.losses.objective import Objective

DOUBTFUL, ABSURD = 20.0, 1000.0
"""Factors between a learning rate and that of the method from which it is doubted, and refused."""
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 5e-2}
"""Difference between a logit in a batch and alone, in units of the largest logit, that rounding explains."""


def check_weights(runner: Runner) -> str:
    """What is trained; raise when something that should be trained is frozen, in half precision, or not finite."""
    adaptation = runner.adaptation
    parameters = dict(adaptation.model.named_parameters())
    trained = {name: parameters[name] for name in sorted(adaptation.all_trained)}
    frozen = [name for name, parameter in trained.items() if not parameter.requires_grad]
    if frozen:
        part = "head" if peft_bridge.original_name(frozen[0]) in adaptation.learned_head else "adapter"
        raise LightAdaptError(
            f"{len(frozen)} of {len(trained)} tensors that are to be trained are frozen, in the {part} for example "
            f"{frozen[0]}. Do not change requires_grad by hand; adapted.use({adaptation.name!r}) sets it right."
        )
    half = [name for name, parameter in trained.items() if parameter.dtype in (torch.float16, torch.bfloat16)]
    if half:
        raise LightAdaptError(
            f"{len(half)} trained tensors are in half precision, for example {half[0]} ({trained[half[0]].dtype}): "
            "small steps would be rounded away. Do not call .half() or .to(dtype) on the model; give adapt(…, dtype=…)."
        )
    if not all(parameter.isfinite().all() for parameter in trained.values()):
        raise LightAdaptError(
            "The trained weights are not finite: an earlier run diverged. Start again from adapt(…) or load(…)."
        )
    return f"weights: {len(trained)} tensors are trained, in float32"


def check_targets(features: Sequence[Any], task: Task, view: ModelView) -> str:
    """How much is to be learned; raise when no token is to be learned, or never the one that ends a text."""
    ends = task.end_tokens(view)
    count, rows, ended = 0, 0, False
    for feature in features:  # once: they may lie in a file
        row = feature.targets.get("labels")
        if isinstance(row, list):
            rows += 1
            count += any(label != IGNORED for label in row)
            ended = ended or bool(ends & set(row[-2:]))
    if rows and not count:
        raise LightAdaptError("Every label is masked, so there is nothing to learn. Look at adapted.preview(data).")
    if rows and ends and not ended:
        raise LightAdaptError(
            f"The end token ({view.tokenizer.eos_token}) is nowhere among what is learned, so the model would "
            "never stop. Look at adapted.preview(data): most often the records are cut, or the chat template ends no "
            "turn."
        )
    count = count if rows else len(features)
    return f"targets: {count} {'sequence has' if count == 1 else 'sequences have'} something to learn"


def check_learning_rate(given: float | None, usual: float, method: str) -> None:
    """Raise for a learning rate a thousand times off the method's own, warn for one twenty times off."""
    if given is None:
        return
    factor = given / usual
    if max(factor, 1 / factor) < DOUBTFUL:
        return
    times = f"{factor:,.0f} times" if factor > 1 else f"1/{1 / factor:,.0f} of"
    message = (
        f"learning_rate={given:g} is {times} the usual rate of method {method!r}, {usual:g}. Methods differ "
        "much in the rate they want; leave it out to take the usual one."
    )
    if max(factor, 1 / factor) >= ABSURD:
        raise LightAdaptError(message)
    warn(message)


class GradientWatch:
    """Sees over the first steps whether a gradient reaches all that is inserted."""

    steps = 8
    """A tensor may be left out of some steps: an expert that no token goes to, a layer that is dropped at random."""

    def __init__(self, adaptation: Adaptation) -> None:
        self.model: PreTrainedModel = adaptation.model
        inserted = adaptation.adapter.parameters
        self.waiting = set(inserted or adaptation.all_trained)
        self.watched = len(self.waiting)
        self.each = bool(inserted)
        self.experts = tuple(
            part.path
            for block in adaptation.design.blueprint.anatomy.blocks
            for part in block.feed_forwards
            if part.mixture and part.path
        )
        self.alive = False
        self.seen = 0

    def look(self) -> None:
        """Take note of the gradients of a step.

        Raises:
            LightAdaptError: none has reached the adapter at all, or some tensor in none of the first steps.
        """
        if not self.waiting and self.alive:
            return
        self.seen += 1
        for name, parameter in self.model.named_parameters():
            if name in self.waiting and parameter.grad is not None:
                self.waiting.discard(name)
                self.alive = self.alive or bool((parameter.grad != 0).any())
        if not self.alive and (len(self.waiting) == self.watched or self.seen >= self.steps):
            raise LightAdaptError(
                "No gradient reaches what is to be trained, so nothing would be learned. Most often the loss does not "
                "depend on it: gradient checkpointing with use_reentrant=True, or a model whose forward was changed."
            )
        lost = [name for name in self.waiting if not name.startswith(self.experts)] if self.experts else self.waiting
        if self.each and lost and self.seen >= self.steps:
            raise LightAdaptError(
                f"No gradient reached {len(lost)} of {self.watched} inserted tensors in {self.seen} steps, for example "
                f"{sorted(lost)[0]}. Leave its block out with layers=…, or choose other targets."
            )


def check_gradients(
    adaptation: Adaptation,
    batch: Mapping[str, torch.Tensor],
    objective: Objective | None,
) -> str:
    """How many tensors a gradient reaches; raise when it leaves out part of the adapter, in up to eight steps."""
    model = adaptation.model
    watch = GradientWatch(adaptation)
    inputs = {name: value.to(model.device) for name, value in batch.items()}
    was_training = model.training
    model.train()
    try:
        for _ in range(watch.steps):
            loss = model(**inputs).loss if objective is None else objective(model, inputs)
            value = loss.item()
            if not math.isfinite(value):
                raise LightAdaptError(f"The loss of the first batch is {value}. Look at the records, and at dtype=….")
            if loss.requires_grad:
                loss.backward()
            watch.look()
            if watch.alive and not watch.waiting:
                break
    finally:
        model.zero_grad(set_to_none=True)
        model.train(was_training)
    return f"gradients: they reach {watch.watched - len(watch.waiting)} of {watch.watched} tensors"


def check_padding(runner: Runner, features: Sequence[Any]) -> str:
    """That padding changes nothing; raise when a feature gives something else in a batch than alone.

    Empty where that cannot be seen: there is one feature only, or the task infers no array.
    """
    model, task, view = runner.model, runner.task, runner.view
    if len(features) < 2 or not task.comparable:
        return ""
    with torch.no_grad():
        together = task.infer(model, features, view)
        alone = [task.infer(model, [feature], view)[0] for feature in features]
    largest = max(float(abs(logits).max()) for logits in alone)
    apart = max(float(abs(one - other).max()) for one, other in zip(together, alone, strict=True))
    if apart > TOLERANCE[model.dtype] * largest:
        raise LightAdaptError(
            f"{type(model).__name__} gives other outputs for a text in a batch than for the text alone ({apart:.3g} "
            f"apart, of {largest:.3g}): it does not leave out padding. Its predictions would depend on their "
            "neighbours; choose another architecture for this task."
        )
    return "padding: a batch gives what its records give alone"


def check_all(runner: Runner, data: Data | None, columns: Mapping[str, str | int] | None, bad: BadRecords) -> list[str]:
    """What was found to be right, a line each; see `Adapted.check`.

    Raises:
        LightAdaptError: something would fail in silence, with what to do about it; or the labels are not known yet.
    """
    runner.require_labels()
    task, given = runner.task, data is not None
    if data is None:
        data, columns = task.samples(), {}
    seen = runner.prepare(data, columns=columns, bad=bad)
    if given:  # the samples are in English
        runner.check_legible(seen.examples, refuse=True)
    # By the labels of now, which a fit might still change.
    examples, records = usable(seen.examples, seen.records, task.check_answers, bad)
    bad.check_rest(len(examples))
    bad.tell(len(examples))
    features = runner.encode(examples, records, targets=True)
    few, plain = features[:8], runner.encode(examples[:8], records, targets=False)[:8]
    with torch.random.fork_rng():  # dropout draws
        found = [
            check_weights(runner),
            check_targets(features, task, runner.view),
            check_gradients(runner.adaptation, runner.collate(few), task.objective(examples, runner.view)),
            check_padding(runner, plain),
        ]
    return [line for line in found if line]
