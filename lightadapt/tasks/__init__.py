"""The tasks, one file each, and how a name finds one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import isabstract
from typing import Any

from lightadapt.data import is_collection
from lightadapt.data.tables import is_table
from lightadapt.errors import LightAdaptError, nearest, shown
from lightadapt.registry import own_classes
from lightadapt.suggestions.calls import explain_constructors
from lightadapt.suggestions.foreign_names import task_called
from lightadapt.tasks.encoding.features import Count, Encoded, Feature
from lightadapt.tasks.encoding.view import ModelView
from lightadapt.tasks.fitted import Fitted
from lightadapt.tasks.labels import Label, LabelledTask
from lightadapt.tasks.task import EVERY_FAMILY, KNOWN_TASKS, Task

__all__ = [
    "EVERY_FAMILY",
    "TASKS",
    "Count",
    "Encoded",
    "Feature",
    "Fitted",
    "Label",
    "LabelledTask",
    "ModelView",
    "Task",
    "give_labels",
    "resolve_task",
    "task_of_json",
]

TASKS: dict[str, type[Task]] = own_classes(__name__, KNOWN_TASKS)
"""Ours, by name; those of the caller come on top."""
explain_constructors(TASKS.values())


def __getattr__(name: str) -> Any:
    """The classes of the tasks themselves, each of which is known from its own file on."""
    found = {task.__name__: task for task in TASKS.values()}
    if name not in found:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found[name]


def resolve_task(task: Any) -> Task:
    """The task of that name with its defaults, or the given task object.

    Raises:
        LightAdaptError: there is no such task, `load` could not find it again, or its options cannot be saved.
    """
    found = KNOWN_TASKS.find(task) if isinstance(task, str) else None
    if found is not None:
        task, _ = found
    if isinstance(task, type) and issubclass(task, Task) and not isabstract(task):
        task = KNOWN_TASKS.make(task, {})
    if not isinstance(task, Task):
        names = [*TASKS, *(name for name in KNOWN_TASKS.names if name not in TASKS)]
        other = task_called(task) if isinstance(task, str) else None
        hint = f"Here it is called {other!r}. " if other else nearest(str(task), names)
        raise LightAdaptError(f"Unknown task {shown(task)}. {hint}Tasks: {', '.join(names)}")
    KNOWN_TASKS.check(task)
    return task


def task_of_json(saved: Mapping[str, Any], labels: Sequence[Label] | None = None) -> Task:
    """The task that `Task.as_json` describes, with the labels that are kept beside it.

    Raises:
        LightAdaptError: it is not known here, or does not know these settings, or labels.
    """
    settings, fitted = saved.get("settings"), saved.get("fitted")
    if fitted is None and isinstance(settings, Mapping):  # version 0.1.0 had no place of its own for it
        found = {name for name in settings if name.startswith("found_")}
        fitted = {name.removeprefix("found_"): settings[name] for name in found}
        saved = {**saved, "settings": {name: value for name, value in settings.items() if name not in found}}
    task = KNOWN_TASKS.of_json(saved, **({} if labels is None else {"labels": labels}))
    try:
        return replace(task, fitted=replace(task.fitted, **(fitted or {})))
    except TypeError as error:
        raise LightAdaptError(f"Task {task.name!r} does not know what it has learned: {fitted!r} ({error}).") from error


def give_labels(task: Task, labels: Any) -> LabelledTask:
    """The task with these labels: a list of names, names with what they mean, or data to read them from.

    Raises:
        LightAdaptError: the task has no labels, or a description is no text.
    """
    if not isinstance(task, LabelledTask):
        raise LightAdaptError(f"Task {task.name!r} has no labels. Leave labels out.")
    if isinstance(labels, Mapping) and not is_table(labels) and not set(labels) & set(task.fields):
        _check_meanings(labels)
    if _describes(task, labels):
        return replace(task, labels=None, descriptions=labels).with_labels(tuple(labels))
    return task.with_labels(_read_labels(task, labels))


def _check_meanings(labels: Mapping[Any, Any]) -> None:
    """Raise unless this is `{label: description}`, with several descriptions where they are a list."""
    if not labels:
        raise LightAdaptError("labels is empty. Name at least one label, or leave labels out to infer them.")
    for name, meaning in labels.items():
        if not isinstance(meaning, (str, list, tuple)):
            raise LightAdaptError(
                f"labels holds {shown(meaning)} for {shown(name)}. Give names with what they mean, as texts or lists "
                "of texts, or names alone in a list."
            )


def _describes(task: LabelledTask, labels: Any) -> bool:
    """Whether labels come with what they mean, `{label: description}`; else a mapping is a table of data."""
    if not isinstance(labels, Mapping) or not labels:
        return False
    values = list(labels.values())
    if all(isinstance(value, str) for value in values):
        return True
    return not set(labels) & set(task.fields) and all(isinstance(value, (str, list, tuple)) for value in values)


def _read_labels(task: LabelledTask, labels: Any) -> Sequence[Label]:
    """The labels themselves, or those that occur in data."""
    if is_collection(labels):
        names = sorted(labels) if isinstance(labels, (set, frozenset)) else list(labels)
        if not names or not all(isinstance(name, Mapping) for name in names):
            return names
        labels = names
    return task.find_labels(task.parse(task.read(labels)))
