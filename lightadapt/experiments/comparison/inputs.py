"""What `compare` is given, checked before any run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path

from lightadapt.anatomy import Layers
from lightadapt.base.blueprint import make_blueprint
from lightadapt.base.source import find_source, load_tokenizer
from lightadapt.data import Record, Records
from lightadapt.errors import LightAdaptError
from lightadapt.experiments.jobs import only_fields, refusal
from lightadapt.machine.hardware import choose_device
from lightadapt.methods import METHODS, Method, resolve_method
from lightadapt.numbers import check_positive, check_whole
from lightadapt.tasks import Task

USUAL_METHODS = ("full", "lora", "prefix", "bottleneck", "ia3", "bitfit", "probe")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What is compared, checked."""

    model: str
    task: Task
    methods: dict[str, Method]
    train: list[Record]
    test: list[Record]
    epochs: float | None
    layers: Layers
    device: str
    threads: int | None
    refused: dict[str, str]
    """For methods that this model cannot serve: why."""


def name_methods(methods: Sequence[str | Method]) -> dict[str, Method]:
    """The methods by their names as written, or for objects by `name(field=value, …)` with what is no default.

    >>> from lightadapt import LoRA
    >>> list(name_methods(["full", LoRA(rank=4)]))
    ['full', 'lora(rank=4)']

    Raises:
        LightAdaptError: an unknown name, one that is there twice, none at all, or a method of another library.
    """
    if isinstance(methods, str):
        raise LightAdaptError(f"methods={methods!r} is one text. Give a list of names: methods=[{methods!r}, …]")
    if not isinstance(methods, Sequence):
        raise LightAdaptError(f"methods is a {type(methods).__name__}. Give a list of names or method objects.")
    named: dict[str, Method] = {}
    for each in methods:
        method = resolve_method(each)
        if METHODS.get(method.name) is not type(method):
            raise LightAdaptError(
                f"Method {method.name!r} is not one of lightadapt's, so other processes cannot make it."
            )
        name = each.lower() if isinstance(each, str) else _describe(method)
        if name in named:
            raise LightAdaptError(f"methods names {name!r} twice. Name each method once.")
        named[name] = method
    if not named:
        raise LightAdaptError(f"methods is empty. Name at least one, such as {', '.join(USUAL_METHODS)}.")
    return named


def _describe(method: Method) -> str:
    defaults = {
        entry.name: entry.default if entry.default_factory is MISSING else entry.default_factory()
        for entry in fields(method)
    }
    values = {name: getattr(method, name) for name in defaults}
    changed = [f"{name}={value!r}" for name, value in values.items() if value != defaults[name]]
    return f"{method.name}({', '.join(changed)})" if changed else method.name


def choose_records(records: Records, count: int | None) -> Records:
    """The first records of a shuffle that is always the same; None: all, as they are.

    Raises:
        LightAdaptError: there are fewer.
    """
    if count is None:
        return records
    check_whole("records", count)
    if count > len(records):
        raise LightAdaptError(
            f"records={count}: {records.source} has {len(records)}. Give fewer, or leave records out."
        )
    return replace(
        records,
        items=random.Random(0).sample(records.items, len(records))[:count],
        lines=None,
        file_of=None,
        documents=None,
    )


def check_inputs(
    model: str | Path,
    task: Task,
    methods: dict[str, Method],
    *,
    train: Records,
    test: Records,
    epochs: float | None,
    layers: Layers,
    device: str,
    threads: int | None,
) -> Inputs:
    """Look at all that a comparison is given, with the model as it is without weights.

    Raises:
        LightAdaptError: a setting that cannot be, or no method that the model can serve.
    """
    if not isinstance(model, (str, Path)):
        raise LightAdaptError(
            f"model is a {type(model).__name__}. Give a hub id or a folder: each run loads it in a process of its own."
        )
    if threads is not None:
        check_whole("threads", threads)
    if epochs is not None:
        check_positive("epochs", epochs)
    place = str(choose_device(device))
    source = find_source(model)
    blueprint = make_blueprint(source, task)
    blueprint.anatomy.choose_blocks(layers)
    tokenizer = load_tokenizer(source, None, task)
    refused = {name: refusal(blueprint, tokenizer, method, layers, place) for name, method in methods.items()}
    refused = {name: reason for name, reason in refused.items() if reason}
    if len(refused) == len(methods):
        raise LightAdaptError(f"No method can be compared. {next(iter(refused.values()))}")
    return Inputs(
        model=source.name or str(model),
        task=task,
        methods=methods,
        train=[only_fields(item, task) for item in train],
        test=[only_fields(item, task) for item in test],
        epochs=epochs,
        layers=layers,
        device=place,
        threads=threads,
        refused=refused,
    )
