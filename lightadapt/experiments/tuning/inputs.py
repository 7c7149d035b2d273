"""What `tune` is given, checked before any trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lightadapt.anatomy import Layers
from lightadapt.base.blueprint import make_blueprint
from lightadapt.base.source import find_source, load_tokenizer
from lightadapt.data import Data, Record, Records
from lightadapt.data.splitting import divide
from lightadapt.errors import LightAdaptError, shown
from lightadapt.experiments.comparison.inputs import name_methods
from lightadapt.experiments.jobs import digest_of, only_fields, read_data, refusal, short_name
from lightadapt.experiments.tuning.asked import read_search
from lightadapt.experiments.tuning.space import UNEVEN
from lightadapt.machine.hardware import choose_device
from lightadapt.methods import Method
from lightadapt.methods.ranges import Choice, Range
from lightadapt.numbers import check_whole
from lightadapt.tasks import LabelledTask, Task
from lightadapt.training.held_out import is_share

USUAL_METHODS = ("lora", "bottleneck", "ia3")
"""Tried when no method is named; the first is the default of `adapt`."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What is searched for, checked."""

    model: str
    task: Task
    methods: Mapping[str, Method]
    """The default one first."""
    asked: Mapping[str, Range]
    train: Sequence[Record]
    validation: Sequence[Record]
    unseen: Sequence[Record]
    """Those on which no trial is scored."""
    layers: Layers
    devices: Sequence[str]
    """One for each trial that runs at a time."""
    threads: int | None
    seed: int
    uneven: bool
    """Whether some classes are far larger than others."""
    refuses: Callable[[Method], str]

    @property
    def fixed(self) -> dict[str, Any]:
        """What has one value in all trials, the default one among them."""
        return {
            key: each.values[0] for key, each in self.asked.items() if isinstance(each, Choice) and len(each.values) < 2
        }

    def fixed_of(self, method: str) -> dict[str, Any]:
        """What has one value in all trials with a method, that name itself among it."""
        known = {f"method.{field}" for field in vars(self.methods[method])}
        kept = {key: each for key, each in self.fixed.items() if key in known or not key.startswith("method.")}
        return {"method": method, **kept}

    @property
    def setting(self) -> dict[str, Any]:
        """What a study is of, by which its storage is known again."""
        return {
            "model": short_name(self.model) if Path(self.model).is_dir() else self.model,
            "task": self.task.name,
            "train": len(self.train),
            "validation": len(self.validation),
            "unseen": len(self.unseen),
            "data": digest_of(self.model, self.task, self.train, self.validation),
            "methods": [str(method) for method in self.methods.values()],
            "search": {key: str(each) for key, each in sorted(self.asked.items())},
            "layers": self.layers if self.layers is None or isinstance(self.layers, str) else list(self.layers),
            "seed": self.seed,
        }


def check_inputs(
    model: Any,
    task: str | Task,
    train: Data,
    validation: Data | float,
    *,
    unseen: float | None,
    method: str | Method | None,
    search: Mapping[str, Any] | None,
    layers: Layers,
    columns: Mapping[str, str] | None,
    device: str,
    threads: int | None,
    workers: int | None,
    seed: int,
) -> Given:
    """Look at all that a search is given, with the model as it is without weights.

    Raises:
        LightAdaptError: a setting that cannot be, a record that cannot be used, or no method that the model can serve.
    """
    if not isinstance(model, (str, Path)):
        raise LightAdaptError(
            f"model is a {type(model).__name__}. Give a hub id or a folder: each trial loads it in a process of its "
            "own."
        )
    check_whole("seed", seed, least=0, most=2**32 - 1)
    if threads is not None:
        check_whole("threads", threads)
    named = _choose_methods(method, search)
    chosen, learned, scored = _read(task, train, validation, columns, seed)
    place = str(choose_device(device))
    source = find_source(model)
    blueprint, tokenizer = make_blueprint(source, chosen), load_tokenizer(source, None, chosen)
    blueprint.anatomy.choose_blocks(layers)
    rest, kept = (scored, None) if unseen is None else _divide(chosen, scored, unseen, seed)

    def refuses(each: Method) -> str:
        return refusal(blueprint, tokenizer, each, layers, place)

    served = {name: each for name, each in named.items() if not refuses(each)}
    if not served or (method is not None and len(served) < len(named)):
        raise LightAdaptError(next(filter(None, map(refuses, named.values()))))
    asked = read_search(search, served, chosen, anatomy=blueprint.anatomy, refuses=refuses)
    if layers is not None and "layers" in asked:
        raise LightAdaptError(f"layers={shown(layers)} and search['layers']: give one of them.")
    return Given(
        model=source.name or str(model),
        task=chosen,
        methods=served,
        asked=asked,
        train=[only_fields(item, chosen) for item in learned],
        validation=[only_fields(item, chosen) for item in rest],
        unseen=[only_fields(item, chosen) for item in kept or ()],
        layers=layers,
        devices=_devices(device, place, workers),
        threads=threads,
        seed=seed,
        uneven=_is_uneven(chosen, learned),
        refuses=refuses,
    )


def _choose_methods(method: str | Method | None, search: Mapping[str, Any] | None) -> dict[str, Method]:
    asked = search.get("method") if isinstance(search, Mapping) else None
    if method is not None and asked is not None:
        raise LightAdaptError(f"method={shown(method)} and search['method']={shown(asked)}: give one of them.")
    if asked is not None and not (isinstance(asked, (list, tuple)) and asked):
        raise LightAdaptError(f"search['method']={shown(asked)}: give a list of methods, such as ['lora', 'ia3'].")
    if asked is not None:
        return name_methods(list(asked))
    return name_methods(list(USUAL_METHODS) if method is None else [method])


def _read(
    task: str | Task, train: Data, validation: Data | float, columns: Mapping[str, str] | None, seed: int
) -> tuple[Task, Records, Records]:
    """The task with its labels, the records to train on, and those to score on."""
    if validation is None:
        raise LightAdaptError("validation is missing: give data to score trials on, or a share of train such as 0.1.")
    if not is_share(validation):
        return read_data(task, train, validation, columns, called="validation data")
    chosen, every, _ = read_data(task, train, train, columns)
    return (chosen, *_divide(chosen, every, validation, seed))


def _divide(task: Task, records: Records, share: float, seed: int) -> tuple[Records, Records]:
    """The records in two parts, the second with a share of them and of each class."""
    classes = task.classes_of(task.parse(records))
    first, second = divide(classes, share, seed=seed, source=records.source)
    return records.only(first), records.only(second)


def _is_uneven(task: Task, records: Records) -> bool:
    """Whether the task can weigh classes, and the largest class has many times the records of the smallest."""
    if not isinstance(task, LabelledTask) or "class_weights" not in task.settings():
        return False
    if task.settings()["class_weights"] is not None:
        return False
    counts = Counter(each for of_one in task.classes_of(task.parse(records)) for each in of_one)
    return bool(counts) and max(counts.values()) >= UNEVEN * min(counts.values())


def _devices(device: str, place: str, workers: int | None) -> list[str]:
    """The device of each trial that runs at a time: every GPU, unless one was named."""
    if workers is not None:
        check_whole("workers", workers)
    gpus = torch.cuda.device_count() if device in ("auto", "cuda") and place.startswith("cuda") else 0
    places = [f"cuda:{number}" for number in range(gpus)] if gpus > 1 else [place]
    return [places[number % len(places)] for number in range(workers or len(places))]
