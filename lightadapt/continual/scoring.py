"""The scores of an adaptation on what each of its steps brought."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from lightadapt.adaptation.runner import Runner
from lightadapt.data import Records
from lightadapt.tasks import LabelledTask
from lightadapt.tasks.classification import Classification


def scores_by_step(
    runner: Runner, examples: Sequence[Any], records: Records, step_of: Mapping[Any, int], *, last: int
) -> dict[int, float]:
    """The score on the classes that each step brought, by the number of the step.

    Where a record has one class, it is the headline metric on the records of those classes; where it has several, the
    mean F1 of the classes that occur. A task without classes has its headline metric for the last step alone.

    Args:
        examples: of any classes; those with a class that no step has brought are left out.
        step_of: the step that brought each class.
        last: the number of the last step.
    """
    task = runner.task
    classes: list[Sequence[Hashable]] = task.classes_of(examples) if isinstance(task, LabelledTask) else []
    if isinstance(task, LabelledTask):
        places = [place for place, own in enumerate(classes) if all(each in step_of for each in own)]
        examples, records = [examples[place] for place in places], records.only(places)
        classes = [classes[place] for place in places]
    if not len(examples):
        return {}
    predictions = runner.decode(examples, runner.encode(examples, records, targets=not task.comparable))
    if not isinstance(task, LabelledTask):
        return {last: float(task.score(examples, predictions)[0][task.headline])}
    if isinstance(task, Classification):
        return _of_groups(runner, examples, predictions, [step_of[own[0]] for own in classes])
    report = task.score(examples, predictions)[1]
    found: dict[int, list[float]] = {}
    for label, step in step_of.items():
        row = report.get(str(label))
        if row is not None and row["support"]:
            found.setdefault(step, []).append(row["f1"])
    return {step: sum(values) / len(values) for step, values in sorted(found.items())}


def _of_groups(
    runner: Runner, examples: Sequence[Any], predictions: Sequence[Any], steps: Sequence[int]
) -> dict[int, float]:
    found = {}
    for step in sorted(set(steps)):
        mine = [place for place, own in enumerate(steps) if own == step]
        metrics, _ = runner.task.score([examples[each] for each in mine], [predictions[each] for each in mine])
        found[step] = float(metrics[runner.task.headline])
    return found
