"""Learning from more data: old classes and new ones, with little lost of what was known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lightadapt.adaptation.history import History
from lightadapt.adaptation.past import Past
from lightadapt.adaptation.runner import Prepared, Runner
from lightadapt.adaptation.training_summary import TrainingSummary
from lightadapt.adaptation.undoing import undone_if_it_fails
from lightadapt.continual.classes import check_spelling
from lightadapt.continual.keeping import with_memory_of_fit
from lightadapt.continual.memory import check_memory, remember
from lightadapt.continual.scoring import scores_by_step
from lightadapt.continual.stepping import take_step
from lightadapt.continual.steps import Steps, classes_by_step, entry_of, kept_as_it_is, now, with_first_step
from lightadapt.data import Data
from lightadapt.data.skipping import BadRecords, usable
from lightadapt.stream.joining import joined
from lightadapt.stream.summary import keep_made, keep_summary
from lightadapt.tasks import Label, LabelledTask
from lightadapt.training.checks import check_learning_rate, check_weights
from lightadapt.training.given import check_callbacks
from lightadapt.training.held_out import hold_out, is_share
from lightadapt.training.process import left_as_it_was
from lightadapt.training.settings import Settings


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
    summary: bool,
) -> Extension:
    """Learn a step, and return what it was; see `Adapted.extend`.

    One that fails or is interrupted leaves the adaptation as it was.

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
    learned = _prepare(runner, data, columns, bad)
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
    past = with_memory_of_fit(runner, past, memory)
    before = kept_as_it_is(runner, past, weights=keep_weights)
    if checked is not None and past.steps and set(map(str, known.values())) - past.steps[-1]["scores"].keys():
        before = _scored(before, scores_by_step(runner, *checked, known, last=past.steps[-1]["step"]))
    summarized, step = runner.last_run.summary, len(past.steps)
    with undone_if_it_fails(runner):
        history, statistics = take_step(runner, learned, past, new, settings, watchers)
        if summary:
            _keep_summary(runner, past, summarized, learned.examples, None if checked is None else checked[0])
        kept = remember(runner, before, learned.examples, learned.records, step, memory)
        entry = entry_of(
            step,
            records=len(learned.examples),
            classes=new,
            date=now(),
            memory=len(kept),
            replayed=0 if statistics else len(past.memory),
        )
        runner.past = replace(before, steps=(*before.steps, entry), memory=kept, statistics=statistics, seen=())
        if checked is not None:
            scores = scores_by_step(runner, *checked, classes_by_step(runner.past), last=step)
            runner.past = _scored(runner.past, scores)
    return Extension(history, steps_of(runner))


def _keep_summary(
    runner: Runner,
    past: Past,
    before: TrainingSummary | None,
    examples: Sequence[Any],
    held_out: Sequence[Any] | None,
) -> None:
    """Keep a summary of all that was learned by now; none where there was none of what was learned before.

    Args:
        past: before the step.
        before: the summary of what was learned then.
        examples: of the step.
        held_out: what was scored on; None: nothing was.
    """
    if not past.steps:
        keep_summary(runner, examples, held_out)
    elif before is not None:
        records = sum(int(each["records"]) for each in past.steps)
        keep_made(runner, "extend", lambda: joined(runner, before, examples, records))


def steps_of(runner: Runner) -> Steps:
    """The steps in which it has learned."""
    return Steps(runner.past.steps, runner.task.headline)


def _labels_of(learned: Prepared) -> Sequence[Label]:
    return learned.task.find_labels(learned.examples) if isinstance(learned.task, LabelledTask) else ()


def _prepare(runner: Runner, data: Data, columns: Mapping[str, str | int] | None, bad: BadRecords) -> Prepared:
    """The data of a step, and the task with the labels that it adds behind those that there are.

    Raises:
        DataError: a record cannot be used, or a new label is a known one in another spelling.
    """
    task = runner.task
    if not task.ready:
        return runner.prepare(data, columns=columns, bad=bad)
    examples, records = task.parse_usable(task.read(data, columns=columns, bad=bad), bad)
    bad.check_rest(len(examples))
    known = runner.labels or []
    if isinstance(task, LabelledTask):
        check_spelling(task, examples, records, known)
        task = task.with_labels([*known, *(each for each in task.find_labels(examples) if each not in known)])
    task = task.prepare(examples, fresh_head=runner.adaptation.head.is_fresh)
    examples, records = usable(examples, records, task.check_answers, bad)
    examples, records = runner.usable(examples, records, bad, targets=True, task=task)
    bad.check_rest(len(examples))
    return Prepared(records, examples, task, runner.view_of(task))


def _scored(past: Past, scores: Mapping[int, float]) -> Past:
    """The past with scores of its last step, of which those that were there stay."""
    last = past.steps[-1]
    named = {str(step): value for step, value in scores.items()}
    return replace(past, steps=(*past.steps[:-1], {**last, "scores": {**named, **last["scores"]}}))
