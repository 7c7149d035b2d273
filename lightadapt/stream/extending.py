"""Learning from more data: old classes and new ones, with little lost of what was known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from lightadapt.adaptation.history import History
from lightadapt.adaptation.past import MEMORY_NAME, Past, Remembered
from lightadapt.adaptation.runner import Prepared, Runner
from lightadapt.data import Data, Records
from lightadapt.data.skipping import BadRecords, usable
from lightadapt.errors import LightAdaptError
from lightadapt.stream.classes import check_spelling, outputs_of
from lightadapt.stream.memory import check_memory, remember
from lightadapt.stream.protecting import StepFeatures, given_before, loss_of, numbered
from lightadapt.stream.rows import start_rows
from lightadapt.stream.scoring import scores_by_step
from lightadapt.stream.steps import Steps, classes_by_step, entry_of, kept_as_it_is, now, with_first_step
from lightadapt.tasks import Label, LabelledTask, Task
from lightadapt.training.checks import check_learning_rate, check_targets, check_weights
from lightadapt.training.few_shot import first_recipe
from lightadapt.training.fit import Lesson, learn, usual_lesson
from lightadapt.training.given import check_callbacks
from lightadapt.training.held_out import hold_out, is_share
from lightadapt.training.process import left_as_it_was
from lightadapt.training.recipe import FEW_SHOT, Recipe
from lightadapt.training.settings import Settings

PROTOTYPES = replace(FEW_SHOT, name="extend")
"""How a head of prototypes goes on."""
OTHERS = Recipe(name="extend", records_per_step=16, steps_wanted=200, epochs_least=3, epochs_most=20, evaluations=None)
"""How any other goes on."""
SLOWER = 1.0
"""What the usual learning rates are divided by."""
REPEATS = 6
"""How often a record of the memory is learned in an epoch at most, so that its class counts as much as a new one."""


@dataclass(frozen=True, repr=False)
class Extension:
    """What a step of `extend` was; it prints as the table of all steps."""

    history: History
    """The record of its training."""
    steps: Steps
    """All steps up to now."""

    @property
    def classes(self) -> list[Label]:
        """The classes that were new in it."""
        return list(self.steps[-1]["classes"])

    def __str__(self) -> str:
        entry = self.steps[-1]
        new = f"{len(self.classes)} new classes" if len(self.classes) != 1 else "1 new class"
        return (
            f"step {entry['step']}: {entry['records']:,} records, {new}, {entry['replayed']:,} records replayed, "
            f"{entry['memory']:,} kept\n{self.history}\n{self.steps}"
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return self.steps._repr_html_()


@left_as_it_was()
def extend(
    runner: Runner,
    data: Data,
    validation: Data | float | None,
    settings: Settings,
    *,
    memory: int,
    keep_weights: bool,
    columns: Mapping[str, str | int] | None,
    callbacks: Sequence[Any],
    on_error: str,
) -> Extension:
    """Learn a step, and return what it was; see `Adapted.extend`.

    Raises:
        DataError: a record cannot be used; before training starts.
        LightAdaptError: the step cannot be done as asked, or the loss is no longer finite.
    """
    watchers, method = check_callbacks(callbacks), runner.adaptation.design.method
    check_weights(runner)
    check_learning_rate(settings.learning_rate, method.learning_rate, method.name)
    check_memory(memory, 1)
    bad, unseen = BadRecords(on_error), BadRecords(on_error)
    past = with_first_step(runner)
    learned = _prepare(runner, past, data, columns, bad)
    known = classes_by_step(past)
    new = [label for label in _labels_of(learned) if label not in known]
    check_memory(memory, max(1, len(known) + len(new)))
    count, checked = len(learned.examples), None
    if is_share(validation):
        learned, checked, _ = hold_out(learned, float(validation), runner.adaptation.design.seed)
    elif validation is not None:
        checked = runner.read(validation, learned.task, "validation", columns=columns, bad=unseen)
    bad.tell(count)
    unseen.tell(0 if checked is None else len(checked[0]))
    runner.check_legible(learned.examples, refuse=True)
    past = _with_memory_of_fit(runner, past, memory)
    before = kept_as_it_is(runner, past, weights=keep_weights)
    if checked is not None and past.steps:
        before = _scored(before, scores_by_step(runner, *checked, known, last=past.steps[-1]["step"]))
    if past.steps:
        lesson = _next_lesson(runner, learned, past, new)
    else:
        lesson = usual_lesson(runner, learned, first_recipe(runner, learned, settings.recipe))
    history = learn(runner, lesson, None, settings, watchers=watchers, kept={}, held_out=[])
    step = len(past.steps)
    kept = remember(runner, before, learned.examples, learned.records, step, memory)
    entry = entry_of(
        step, records=len(learned.examples), classes=new, date=now(), memory=len(kept), replayed=len(past.memory)
    )
    runner.past = replace(before, steps=(*before.steps, entry), memory=kept, seen=())
    if checked is not None:
        runner.past = _scored(runner.past, scores_by_step(runner, *checked, classes_by_step(runner.past), last=step))
    return Extension(history, steps_of(runner))


def steps_of(runner: Runner) -> Steps:
    """The steps in which it has learned."""
    return Steps(runner.past.steps, runner.task.headline)


def _labels_of(learned: Prepared) -> Sequence[Label]:
    return learned.task.find_labels(learned.examples) if isinstance(learned.task, LabelledTask) else ()


def _prepare(
    runner: Runner, past: Past, data: Data, columns: Mapping[str, str | int] | None, bad: BadRecords
) -> Prepared:
    """The data of a step, and the task with the labels that it adds behind those that there are.

    Raises:
        DataError: a record cannot be used, or a new label is a known one in another spelling.
    """
    if not past.steps:
        learned = runner.prepare(data, columns=columns, bad=bad)
        check_spelling(learned, ())
        return learned
    task = runner.task
    examples, records = task.parse_usable(task.read(data, columns=columns, bad=bad), bad)
    bad.check_rest(len(examples))
    known = runner.labels or []
    if isinstance(task, LabelledTask):
        task = task.with_labels([*known, *(each for each in task.find_labels(examples) if each not in known)])
    task = task.prepare(examples, fresh_head=False)
    examples, records = usable(examples, records, task.check_answers, bad)
    examples, records = runner.usable(examples, records, bad, targets=True, task=task)
    bad.check_rest(len(examples))
    learned = Prepared(records, examples, task, runner.view_of(task))
    check_spelling(learned, known)
    return learned


def keep_records(
    runner: Runner, data: Data, memory: int, columns: Mapping[str, str | int] | None, bad: BadRecords
) -> None:
    """Keep records of what was learned before, in the place of those that are kept; see `Adapted.remember`.

    Raises:
        DataError: a record cannot be used.
        LightAdaptError: nothing has been learned yet, or there would be too many.
    """
    past = with_first_step(runner)
    if not past.steps:
        raise LightAdaptError("remember(…): nothing has been learned yet. Call fit(…) or extend(…) first.")
    check_memory(memory, max(1, len(classes_by_step(past))))
    examples, records = runner.read(data, runner.task, "train", columns=columns, bad=bad)
    bad.tell(len(examples))
    runner.past = replace(past, memory=_chosen(runner, past, examples, records, memory))


def _chosen(
    runner: Runner, past: Past, examples: Sequence[Any], records: Records, memory: int
) -> tuple[Remembered, ...]:
    """So many records of each class, with the steps that brought them."""
    last = past.steps[-1]["step"]
    chosen = [each.record for each in remember(runner, Past(), examples, records, last, memory)]
    steps = _steps_of(runner.task, chosen, classes_by_step(past), last)
    return tuple(map(Remembered, steps, chosen))


def _with_memory_of_fit(runner: Runner, past: Past, memory: int) -> Past:
    """The past with records of the last `fit` for classes of which none is kept; without memory, with no record."""
    if not memory:
        return replace(past, memory=())
    task = runner.task
    kept = [each.record for each in past.memory]
    if not past.steps or not past.seen or (kept and not isinstance(task, LabelledTask)):
        return past
    records = Records(list(past.seen), source="records of the last fit")
    examples = task.parse(records)
    if isinstance(task, LabelledTask):
        covered = {label for own in task.classes_of(_parsed(task, kept)) for label in own}
        places = [place for place, own in enumerate(task.classes_of(examples)) if own and not set(own) & covered]
        examples, records = [examples[place] for place in places], records.only(places)
    return replace(past, memory=(*past.memory, *_chosen(runner, past, examples, records, memory)))


def _parsed(task: Task, records: Sequence[Any]) -> Sequence[Any]:
    """The examples of records of the memory."""
    return task.parse(Records(list(records), source=MEMORY_NAME)) if records else []


def _steps_of(task: Task, records: Sequence[Any], of_class: Mapping[Any, int], last: int) -> list[int]:
    """The step that each record belongs to: the one that brought the newest of its classes."""
    if not isinstance(task, LabelledTask):
        return [last] * len(records)
    classes = task.classes_of(_parsed(task, records))
    return [max((of_class.get(label, last) for label in own), default=last) for own in classes]


def _next_lesson(runner: Runner, learned: Prepared, past: Past, new: Sequence[Label]) -> Lesson:
    """How a model that has learned something learns a step."""
    head, task, view = runner.adaptation.head, learned.task, learned.view
    replayed = [each.record for each in past.memory]
    memory = _parsed(task, replayed)
    examples = [*learned.examples, *memory]
    records = Records([*learned.records.items, *replayed], source=learned.records.source)
    features = list(runner.encode(examples, records, targets=True, task=task))
    own = len([each for each in features if each.example < len(learned.examples)])
    check_targets(features, task, view)
    objective = task.objective(examples, view)
    if isinstance(task, LabelledTask):
        features = numbered(features)
        answered = _answered(learned, past, memory, features)
        step = StepFeatures(features, answered, given_before(runner, features, view))
        objective = loss_of(step, view, replays=bool(memory), contrasts=head.prototypes is not None)

    def begin() -> None:
        runner.settle(task)
        runner.adaptation.freeze_rest_of_head()
        start_rows(runner, features[:own], outputs_of(task, new))
        head.mark_learned()

    repeats = _repeats(task, learned.examples, memory)
    return Lesson(
        replace(learned, examples=examples, records=records),
        [*features[:own], *(features[own:] * repeats)],
        PROTOTYPES if head.prototypes is not None else OTHERS,
        objective,
        begin,
        title="one more step",
        slower=SLOWER,
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
            for step in _steps_of(task, [each.record for each in past.memory], step_of, last=-1)
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


def _scored(past: Past, scores: Mapping[int, float]) -> Past:
    """The past with scores of its last step, of which those that were there stay."""
    last = past.steps[-1]
    named = {str(step): value for step, value in scores.items()}
    return replace(past, steps=(*past.steps[:-1], {**last, "scores": {**named, **last["scores"]}}))
