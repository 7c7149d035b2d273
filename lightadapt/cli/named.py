"""A method or a task as a file describes it: a name, or `name` and settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from lightadapt.errors import LightAdaptError, listed, nearest, shown
from lightadapt.methods import Method, PeftMethod, resolve_method
from lightadapt.methods.method import KNOWN_METHODS
from lightadapt.registry import required_settings
from lightadapt.tasks import Task, resolve_task
from lightadapt.tasks.task import KNOWN_TASKS


def method_of(value: Any) -> Method:
    """The method that a name or a mapping stands for; fields of PEFT's own methods are those of their configs.

    Raises:
        LightAdaptError: there is none of that name, or it has no such field.

    >>> method_of({"name": "lora", "rank": 16}).rank
    16
    """
    name, settings = _name_and_settings("method", value)
    found = KNOWN_METHODS.find(name)
    if found is not None and found[0] is not PeftMethod and required_settings(found[0]):
        return KNOWN_METHODS.make(found[0], {**found[1], **_checked(found[0], name, settings)})
    if name == PeftMethod.name:
        return resolve_method(PeftMethod(**_checked(PeftMethod, name, settings)))
    method = resolve_method(name)
    if isinstance(method, PeftMethod):
        return resolve_method(replace(method, config={**method.config, **settings}))
    return resolve_method(replace(method, **_checked(type(method), name, settings)))


def task_of(value: Any) -> Task:
    """The task that a name or a mapping stands for.

    Raises:
        LightAdaptError: there is none of that name, or it has no such field.
    """
    name, settings = _name_and_settings("task", value)
    found = KNOWN_TASKS.find(name)
    if found is None:
        return resolve_task(name)  # which says what there is
    return resolve_task(KNOWN_TASKS.make(found[0], {**found[1], **_checked(found[0], name, settings)}))


def described(chosen: Method | Task) -> dict[str, Any]:
    """The name and the settings that `method_of` and `task_of` read again, those at their default left out."""
    kind = type(chosen)
    defaults = {each.name: each.default for each in fields(kind)}
    return {"name": kind.name, **{name: value for name, value in chosen.settings().items() if value != defaults[name]}}


def _name_and_settings(kind: str, value: Any) -> tuple[str, dict[str, Any]]:
    settings = dict(value) if isinstance(value, Mapping) else {"name": value}
    name = settings.pop("name", None)
    if not isinstance(name, str):
        raise LightAdaptError(f"{kind} is {shown(value)}. Write a name, or a mapping with `name` and settings.")
    return name, settings


def _checked(known: type, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    names = [each.name for each in fields(known) if each.init and each.name != "fitted"]
    for given in settings:
        if given not in names:
            there = f"Settings: {listed(names, 30)}" if names else "It has none."
            raise LightAdaptError(f"{name} has no setting {shown(given)}. {nearest(given, names)}{there}")
    return dict(settings)
