"""The tasks, one file each, and how a name finds one."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lightadapt.data import is_collection
from lightadapt.errors import LightAdaptError, nearest
from lightadapt.tasks.classification import Classification
from lightadapt.tasks.dialogue import Dialogue
from lightadapt.tasks.generation import Generation
from lightadapt.tasks.multilabel import MultiLabel
from lightadapt.tasks.multiple_choice import MultipleChoice
from lightadapt.tasks.ner import NER
from lightadapt.tasks.qa import QA
from lightadapt.tasks.regression import Regression
from lightadapt.tasks.relation import Relation
from lightadapt.tasks.summarization import Summarization
from lightadapt.tasks.task import Label, LabelledTask, Task
from lightadapt.tasks.translation import Translation

__all__ = [
    "NER",
    "QA",
    "TASKS",
    "Classification",
    "Dialogue",
    "Generation",
    "MultiLabel",
    "MultipleChoice",
    "Regression",
    "Relation",
    "Summarization",
    "Task",
    "Translation",
    "give_labels",
    "resolve_task",
]

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        Classification,
        MultiLabel,
        Regression,
        NER,
        QA,
        Relation,
        MultipleChoice,
        Generation,
        Summarization,
        Translation,
        Dialogue,
    )
}


def resolve_task(task: str | Task) -> Task:
    """The task of that name with its defaults, or the given task object.

    Raises:
        LightAdaptError: there is no such task, or its options cannot be saved.
    """
    if isinstance(task, type) and issubclass(task, Task):
        task = task()
    if isinstance(task, str) and task in TASKS:
        return TASKS[task]()
    if not isinstance(task, Task):
        raise LightAdaptError(f"Unknown task {task!r}. {nearest(str(task), TASKS)}Tasks: {', '.join(TASKS)}")
    for name, value in task.settings().items():
        try:
            json.dumps(value)
        except TypeError as error:
            raise LightAdaptError(
                f"{type(task).__name__}({name}={value!r}) cannot be saved ({error}). Give plain numbers, texts, lists "
                "and dicts."
            ) from error
    return task


def give_labels(task: Task, labels: Any) -> LabelledTask:
    """The task with these labels: a list of names, or data to read them from.

    Raises:
        LightAdaptError: the task has no labels.
    """
    if not isinstance(task, LabelledTask):
        raise LightAdaptError(f"Task {task.name!r} has no labels. Leave labels out.")
    return task.with_labels(_read_labels(task, labels))


def _read_labels(task: LabelledTask, labels: Any) -> Sequence[Label]:
    """The labels themselves, or those that occur in data."""
    if is_collection(labels):
        names = sorted(labels) if isinstance(labels, (set, frozenset)) else list(labels)
        if not names or not all(isinstance(name, Mapping) for name in names):
            return names
        labels = names
    return task.find_labels(task.parse(task.read(labels)))


def task_of_json(saved, labels):
    named = {} if labels is None else {"labels": labels}
    return TASKS[saved["name"]](**saved["settings"], **named)
