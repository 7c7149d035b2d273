"""How a step is learned: by gradients, or by what is known of the vectors of the classes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from lightadapt.adaptation.history import History, LastRun
from lightadapt.adaptation.past import MEMORY_NAME, Past
from lightadapt.adaptation.runner import Prepared, Runner
from lightadapt.continual.classes import outputs_of
from lightadapt.continual.discriminants import (
    Statistics,
    joined,
    known_before,
    of_examples,
    read_discriminants,
    spread,
)
from lightadapt.continual.keeping import parsed, steps_that_brought
from lightadapt.continual.protecting import (
    HOLD_WITH_MEMORY,
    HOLD_WITHOUT,
    StepFeatures,
    given_before,
    loss_of,
    numbered,
)
from lightadapt.continual.rows import start_rows
from lightadapt.continual.steps import classes_by_step
from lightadapt.data import Records
from lightadapt.tasks import Label, LabelledTask, Task
from lightadapt.training.checks import check_targets
from lightadapt.training.few_shot import find_start, first_recipe
from lightadapt.training.fit import Lesson, learn, usual_lesson
from lightadapt.training.recipe import FEW_SHOT, Recipe
from lightadapt.training.self_training import joined as with_more
from lightadapt.training.settings import Settings

OTHERS = Recipe(name="extend", records_per_step=16, steps_wanted=200, epochs_least=3, epochs_most=20, evaluations=None)
"""How any other goes on."""
GENTLE = 4.0
"""What the learning rates of the first step are divided by where later ones go by the vectors: those of classes that
are still to come lose less by it."""
REPEATS = 6
"""How often a record of the memory is learned in an epoch at most, so that its class counts as much as a new one."""


def take_step(
    runner: Runner, learned: Prepared, past: Past, new: Sequence[Label], settings: Settings, watchers: Sequence[Any]
) -> tuple[History, dict[str, torch.Tensor]]:
    """Learn a step; its record, and what is known of the vectors of the classes then, where the head reads vectors.

    Raises:
        DataError: a record cannot be encoded.
        LightAdaptError: the settings ask for what cannot be had, or the loss is no longer finite.
    """
    if not past.steps:
        recipe = first_recipe(runner, learned, settings.recipe)
        start = find_start(runner, learned) if recipe.name == FEW_SHOT.name else None
        lesson = usual_lesson(runner, learned, recipe, start)
        lesson = replace(lesson, call="extend")
        if start is not None and not start.by_meaning:
            lesson = replace(lesson, rates=_rates(runner, GENTLE))
        history = learn(runner, lesson, None, settings, watchers=watchers)
        if not _goes_by_vectors(runner):
            return history, {}
        return history, read_discriminants(runner, of_examples(runner, learned.examples, runner.outputs))
    if not _goes_by_vectors(runner):
        return learn(runner, _next_lesson(runner, learned, past, new), None, settings, watchers=watchers), {}
    before = spread(known_before(runner, past), runner.outputs, learned.view.outputs)
    return _tell_apart(runner, learned, before)


def _goes_by_vectors(runner: Runner) -> bool:
    """Whether classes are told apart by what is known of their vectors, of which each is of one class."""
    prototypes = runner.adaptation.head.prototypes
    return prototypes is not None and not prototypes.several


def _tell_apart(runner: Runner, learned: Prepared, before: Statistics) -> tuple[History, dict[str, torch.Tensor]]:
    """Learn a step by what is known of the vectors of all classes, by the adapter as it is; and what that is."""
    start = time.perf_counter()
    known = joined(before, of_examples(runner, learned.examples, learned.view.outputs))
    runner.settle(learned.task)
    runner.adaptation.freeze_rest_of_head()
    statistics = read_discriminants(runner, known)
    history = History(seconds=time.perf_counter() - start, settings={"recipe": "discriminants"})
    facts = {**history.settings, "records": len(learned.examples), "steps": 0, "seconds": round(history.seconds, 1)}
    runner.last_run = LastRun(facts, {}, history)
    return history, statistics


def _rates(runner: Runner, slower: float) -> tuple[float, float]:
    """The usual learning rates of method and head, divided by a number."""
    method = runner.adaptation.design.method
    return method.learning_rate / slower, method.head_learning_rate / slower


def _with_memory(learned: Prepared, past: Past, memory: Sequence[Any]) -> Prepared:
    """The data of a step, with the records of the memory behind it."""
    return with_more(learned, memory, Records([each.record for each in past.memory], source=MEMORY_NAME))


def _next_lesson(runner: Runner, learned: Prepared, past: Past, new: Sequence[Label]) -> Lesson:
    """How a model that has learned something learns a step."""
    head, task, view = runner.adaptation.head, learned.task, learned.view
    memory = parsed(task, [each.record for each in past.memory])
    joint = _with_memory(learned, past, memory)
    features = list(runner.encode(joint.examples, joint.records, targets=True, task=task))
    own = len([each for each in features if each.example < len(learned.examples)])
    check_targets(features, task, view)
    objective = task.objective(joint.examples, view)
    if isinstance(task, LabelledTask):
        features = numbered(features)
        answered = _answered(learned, past, memory, features)
        step = StepFeatures(features, answered, given_before(runner, features, view))
        objective = loss_of(step, view, hold=HOLD_WITH_MEMORY if memory else HOLD_WITHOUT)

    def begin() -> None:
        runner.settle(task)
        runner.adaptation.freeze_rest_of_head()
        start_rows(runner, features[:own], outputs_of(task, new))
        head.mark_learned()

    repeats = _repeats(task, learned.examples, memory)
    return Lesson(
        joint,
        [*features[:own], *(features[own:] * repeats)],
        OTHERS,
        objective,
        begin,
        _rates(runner, 1.0),
        title="one more step",
        call="extend",
    )


def _answered(learned: Prepared, past: Past, memory: Sequence[Any], features: Sequence[Any]) -> torch.Tensor:
    """Of which outputs each feature speaks, `(N, K)`.

    Where a record has one label, that says of all others that they do not hold; but classes of which no record is
    there to be learned are left alone. Where it has several, it speaks of those that were learned in its step.
    """
    task, view = learned.task, learned.view
    assert isinstance(task, LabelledTask)
    own, step_of = set(task.find_labels(learned.examples)), classes_by_step(past)
    if isinstance(features[0].targets["labels"], int):
        replayed = set(task.find_labels(memory)) if memory else set()
        spoken = [own | replayed] * len(memory)
        own |= replayed
    else:
        spoken = [
            {label for label in step_of if step_of[label] == step}
            for step in steps_that_brought(task, [each.record for each in past.memory], step_of, last=-1)
        ]
    names = list(view.outputs)
    table = torch.zeros(len(features), len(names), dtype=torch.bool)
    for row, each in enumerate(features):
        number = each.example - len(learned.examples)
        labels = own if number < 0 else spoken[number]
        table[row, [names.index(name) for name in outputs_of(task, labels)]] = True
    return table


def _repeats(task: Task, examples: Sequence[Any], memory: Sequence[Any]) -> int:
    """How often a record of the memory is to be learned in an epoch."""
    if not memory:
        return 0
    if not isinstance(task, LabelledTask):
        return max(1, min(REPEATS, len(examples) // len(memory)))
    a_class = [len(of) / len(task.find_labels(of)) for of in (examples, memory)]
    return max(1, min(REPEATS, round(a_class[0] / a_class[1])))
