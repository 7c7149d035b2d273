"""The tasks, one file each, and how a name finds one."""

from lightadapt.errors import LightAdaptError, nearest
from lightadapt.tasks.classification import Classification
from lightadapt.tasks.ner import NER
from lightadapt.tasks.task import Task

__all__ = ["NER", "TASKS", "Classification", "Task", "resolve_task"]

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
