"""Which records an adaptation keeps: of a step, of the last fit, and of data that is given for that alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lightadapt.adaptation.past import MEMORY_NAME, Past, Remembered
from lightadapt.adaptation.runner import Runner
from lightadapt.continual.memory import check_memory, remember
from lightadapt.continual.steps import classes_by_step, with_first_step
from lightadapt.data import Data, Records
from lightadapt.data.skipping import BadRecords
from lightadapt.errors import LightAdaptError
from lightadapt.tasks import LabelledTask, Task


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
    steps = steps_that_brought(runner.task, chosen, classes_by_step(past), last)
    return tuple(map(Remembered, steps, chosen))


def with_memory_of_fit(runner: Runner, past: Past, memory: int) -> Past:
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
        covered = {label for own in task.classes_of(parsed(task, kept)) for label in own}
        places = [place for place, own in enumerate(task.classes_of(examples)) if own and not set(own) & covered]
        examples, records = [examples[place] for place in places], records.only(places)
    return replace(past, memory=(*past.memory, *_chosen(runner, past, examples, records, memory)))


def parsed(task: Task, records: Sequence[Any]) -> Sequence[Any]:
    """The examples of records of the memory."""
    return task.parse(Records(list(records), source=MEMORY_NAME)) if records else []


def steps_that_brought(task: Task, records: Sequence[Any], of_class: Mapping[Any, int], last: int) -> list[int]:
    """The step that each record belongs to: the one that brought the newest of its classes."""
    if not isinstance(task, LabelledTask):
        return [last] * len(records)
    classes = task.classes_of(parsed(task, records))
    return [max((of_class.get(label, last) for label in own), default=last) for own in classes]
