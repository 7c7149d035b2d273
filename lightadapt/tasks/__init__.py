"""The tasks, one file each, and how a name finds one."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightadapt.data import is_collection
from lightadapt.errors import LightAdaptError, nearest
from lightadapt.tasks.classification import Classification
from lightadapt.tasks.ner import NER
from lightadapt.tasks.task import Label, Task

__all__ = ["NER", "TASKS", "Classification", "Task", "read_labels", "resolve_task"]

TASKS: dict[str, type[Task]] = {task.name: task for task in (Classification, NER)}


def resolve_task(task: str | Task) -> Task:
    """The task of that name with its defaults, or the given task object."""
    if isinstance(task, Task):
        return task
    if isinstance(task, type) and issubclass(task, Task):
        return task()
    if isinstance(task, str) and task in TASKS:
        return TASKS[task]()
    raise LightAdaptError(f"Unknown task {task!r}. {nearest(str(task), TASKS)}Tasks: {', '.join(TASKS)}")


def read_labels(task: Task, labels: Any) -> Sequence[Label]:
    """The labels themselves, or those that occur in data."""
    if is_collection(labels):
        names = sorted(labels) if isinstance(labels, (set, frozenset)) else list(labels)
        if not names or not all(isinstance(name, Mapping) for name in names):
            return names
        labels = names
    return task.find_labels(task.parse(task.read(labels)))
