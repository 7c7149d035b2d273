"""What a user asks to be searched, `search={"method.rank": [4, 8], …}`, checked before any work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from transformers import TrainingArguments

from lightadapt.anatomy import Anatomy
from lightadapt.errors import LightAdaptError, listed, nearest, shown
from lightadapt.methods import Method
from lightadapt.methods.ranges import Range, read_range
from lightadapt.tasks import Task
from lightadapt.training.settings import read_settings

OF_FIT = (
    "learning_rate",
    "head_learning_rate",
    "epochs",
    "batch_tokens",
    "early_stopping",
    "recipe",
    "optimizer",
    "base_dropout",
)
"""Arguments of `fit` that can be searched."""
NOT_ARGS = ("output_dir", "eval_strategy", "eval_steps", "save_strategy", "load_best_model_at_end", "disable_tqdm")
"""Arguments of Trainer that a search sets itself."""


def read_search(
    search: Mapping[str, Any] | None,
    methods: Mapping[str, Method],
    task: Task,
    *,
    anatomy: Anatomy,
    refuses: Callable[[Method], str],
) -> dict[str, Range]:
    """The ranges that a user gives, by name.

    Args:
        methods: those that are tried; `search["method"]` is read by whoever chooses them.
        refuses: why the model cannot be adapted by a method; empty where it can.

    Raises:
        LightAdaptError: a name that nothing has, a range with nothing in it, or a value that cannot be.
    """
    if search is not None and not isinstance(search, Mapping):
        raise LightAdaptError(f"search={shown(search)}: give a dict such as {{'method.rank': [4, 8, 16]}}.")
    known = known_names(methods, task)
    ranges: dict[str, Range] = {}
    for name, given in (search or {}).items():
        if name == "method":
            continue
        if name not in known and not (isinstance(name, str) and name.startswith("args.")):
            near = nearest(name, known) or nearest(f"method.{name}", known)
            raise LightAdaptError(
                f"search has {shown(name)}, which is not a setting. {near}Settings: {listed(known, 40)}"
            )
        ranges[name] = read_range(name, given)
        for value in ranges[name].ends:
            _check_value(name, value, methods, task, anatomy, refuses)
    return ranges


def known_names(methods: Mapping[str, Method], task: Task) -> list[str]:
    """The names that a search may have, but for `args.…`."""
    of_methods = [f"method.{each.name}" for method in methods.values() for each in fields(method)]
    of_task = [f"task.{each.name}" for each in fields(task) if each.name not in ("labels", "columns", "fitted")]
    return ["method", *dict.fromkeys(of_methods), *of_task, *OF_FIT, "layers", "args.weight_decay"]


def _check_value(
    name: str,
    value: Any,
    methods: Mapping[str, Method],
    task: Task,
    anatomy: Anatomy,
    refuses: Callable[[Method], str],
) -> None:
    """Raise unless a setting can have a value.

    Raises:
        LightAdaptError: with the reason that the setting itself has.
    """
    kind, _, field = name.partition(".")
    try:
        if kind == "method":
            owners = [each for each in methods.values() if field in vars(each)]
            for owner in owners:
                reason = refuses(replace(owner, **{field: value}))
                if reason:
                    raise LightAdaptError(reason)
        elif kind == "task":
            replace(task, **{field: value})
        elif kind == "args":
            _check_argument(name, field)
            read_settings({field: value}, validates=True)
        elif kind == "layers":
            anatomy.choose_blocks(value)
        else:
            read_settings(None, validates=True, **{name: value})
    except LightAdaptError as error:
        raise LightAdaptError(f"search[{name!r}] holds {shown(value)}: {error}") from error


def _check_argument(name: str, field: str) -> None:
    known = [each.name for each in fields(TrainingArguments) if each.init and each.name not in NOT_ARGS]
    if field not in known:
        raise LightAdaptError(
            f"{field!r} is no argument of TrainingArguments that can be searched. {nearest(field, known)}".rstrip()
        )
