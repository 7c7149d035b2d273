"""`compare`: everything is checked first, then each method and seed runs in a process of its own."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

import lightadapt
from lightadapt.anatomy import Layers
from lightadapt.comparison.results import Comparison, Run, Setting, check_same, read_comparison
from lightadapt.data import Data, Record, Records
from lightadapt.errors import LightAdaptError
from lightadapt.hardware import choose_device
from lightadapt.loading import Blueprint, check_room, draw, plan_for
from lightadapt.methods import METHODS, Method, resolve_method
from lightadapt.source import find_source, load_tokenizer
from lightadapt.tasks import TASKS, Task, resolve_task
from lightadapt.tasks.task import LabelledTask

USUAL_METHODS = ("full", "lora", "prefix", "bottleneck", "ia3", "bitfit", "probe")
VERSIONS = ("torch", "transformers", "peft")


@dataclass(frozen=True)
class _Job:
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


def compare(
    model: str | Path,
    task: str | Task,
    methods: Sequence[str | Method] = USUAL_METHODS,
    *,
    train: Data,
    test: Data,
    seeds: int = 3,
    epochs: float | None = None,
    layers: Layers = None,
    records: int | None = None,
    columns: Mapping[str, str] | None = None,
    device: str = "auto",
    threads: int | None = None,
    path: str | Path | None = None,
    title: str | None = None,
    on_run: Callable[[Run], None] | None = None,
) -> Comparison:
    """Each method trained and scored on the same data with several seeds, with what it took.

    A method that the model cannot serve is `refused`, one whose process dies `failed`; the others go on.

    Args:
        model: hub id or folder.
        task: as in `lightadapt.adapt`.
        methods: names or method objects.
        train: training data in any form (see `lightadapt.data.read`).
        test: labelled data to score on, likewise.
        seeds: how many; they count from 0. A seed draws fresh weights, the order of the data and dropout.
        epochs: as in `Adapted.fit`.
        layers: as in `lightadapt.adapt`.
        records: train on this many records, the first of a shuffle that is always the same; None: on all.
        columns: `{field: column}` for fields that have another name in the data.
        device: as in `lightadapt.adapt`.
        threads: cores that a run computes on; None: as torch chooses.
        path: JSON file that is written anew after every run. Runs that are done in it already are not repeated.
        title: of tables and plots; None: the names of data and model.
        on_run: called with each run that ends.

    Raises:
        LightAdaptError: nothing can be compared like this; before any run.
    """
    count_seeds = _check_whole("seeds", seeds)
    named = name_methods(methods)
    chosen, examples, tests = _read_data(task, train, test, columns)
    kept = choose_records(examples, records)
    job = _check_job(model, chosen, named, kept, tests, epochs, layers, device, threads)
    target = _check_path(path)
    comparison = _go_on(_empty(job, title, str(examples.source)), target)
    done = {(run.method, run.seed) for run in comparison.runs if run.status == "done"}
    with tempfile.TemporaryDirectory(prefix="lightadapt-compare-") as folder:
        _write_records(Path(folder), job)
        # The methods take turns, so that what disturbs the machine for a while disturbs them alike.
        for seed, name in itertools.product(range(count_seeds), named):
            if (name, seed) in done:
                continue
            run = _run_apart(job, name, seed, Path(folder))
            comparison = comparison.with_run(run)
            if target is not None:
                comparison.save(target)
            if on_run is not None:
                on_run(run)
    return comparison.only(list(named), range(count_seeds))


# ---- checks


def name_methods(methods: Sequence[str | Method]) -> dict[str, Method]:
    """The methods by their names as written, or for objects by `name(field=value, …)` with what is no default.

    >>> list(name_methods(["full", lightadapt.LoRA(rank=4)]))
    ['full', 'lora(rank=4)']

    Raises:
        LightAdaptError: an unknown name, one that is there twice, none at all, or a method of another library.
    """
    if isinstance(methods, str):
        raise LightAdaptError(f"methods={methods!r} is one text. Give a list of names: methods=[{methods!r}, …]")
    named: dict[str, Method] = {}
    for each in methods:
        method = resolve_method(each)
        if METHODS.get(method.name) is not type(method):
            raise LightAdaptError(f"Method {method.name!r} is none of lightadapt's, so no other process can make it.")
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


def _read_data(
    task: str | Task, train: Data, test: Data, columns: Mapping[str, str] | None
) -> tuple[Task, Records, Records]:
    """The task with its labels, and the checked records, whose columns have the names of the fields from here on.

    Raises:
        LightAdaptError: an unknown task, data that is not there, or a record that cannot be used.
    """
    chosen = resolve_task(task)
    if TASKS.get(chosen.name) is not type(chosen):
        raise LightAdaptError(f"Task {chosen.name!r} is none of lightadapt's, so no other process can make it.")
    learned = chosen.read(train, split="train", columns=columns)
    scored = chosen.read(test, split="test", columns=columns)
    examples = chosen.parse(learned)
    if isinstance(chosen, LabelledTask) and chosen.labels is None:
        chosen = chosen.with_labels(chosen.find_labels(examples))
    chosen.check_answers(examples, learned)
    chosen.check_answers(chosen.parse(scored), scored)
    return replace(chosen, columns=None), learned, scored


def choose_records(records: Records, count: int | None) -> Records:
    """The first records of a shuffle that is always the same; None: all, as they are.

    Raises:
        LightAdaptError: there are fewer.
    """
    if count is None:
        return records
    if _check_whole("records", count) > len(records):
        raise LightAdaptError(
            f"records={count}: {records.source} has {len(records)}. Give fewer, or leave records out."
        )
    return replace(records, items=random.Random(0).sample(records.items, len(records))[:count], lines=None)


def _check_job(
    model: str | Path,
    task: Task,
    methods: dict[str, Method],
    train: Records,
    test: Records,
    epochs: float | None,
    layers: Layers,
    device: str,
    threads: int | None,
) -> _Job:
    if not isinstance(model, (str, Path)):
        raise LightAdaptError(
            f"model is a {type(model).__name__}. Give a hub id or a folder: each run loads it in a process of its own."
        )
    if threads is not None:
        _check_whole("threads", threads)
    if epochs is not None and not (isinstance(epochs, (int, float)) and 0 < epochs < float("inf")):
        raise LightAdaptError(f"epochs={epochs!r}: give a number above 0.")
    place = str(choose_device(device))
    source = find_source(model)
    blueprint = draw(source, task)
    blueprint.anatomy.choose_blocks(layers)
    tokenizer = load_tokenizer(source, None, task)
    refused = {name: _refusal(blueprint, tokenizer, method, layers) for name, method in methods.items()}
    refused = {name: reason for name, reason in refused.items() if reason}
    if len(refused) == len(methods):
        raise LightAdaptError(f"No method can be compared. {next(iter(refused.values()))}")
    parts = [[_only_fields(item, task) for item in part] for part in (train, test)]
    name = source.name or str(model)
    return _Job(name, task, methods, parts[0], parts[1], epochs, layers, place, threads, refused)


def _refusal(blueprint: Blueprint, tokenizer: Any, method: Method, layers: Layers) -> str:
    """Why the model cannot serve a method, told without weights; empty when it can."""
    try:
        plan_for(blueprint, method, layers)
        check_room(blueprint.source.config, tokenizer, method)
    except LightAdaptError as error:
        return str(error)
    return ""


def _check_whole(name: str, value: Any) -> int:
    if type(value) is not int or value < 1:
        raise LightAdaptError(f"{name}={value!r}: give a whole number of at least 1.")
    return value


def _check_path(path: str | Path | None) -> Path | None:
    """The file for the results, whose folder exists."""
    if path is None:
        return None
    target = Path(path)
    if target.is_dir():
        raise LightAdaptError(f"{target} is a folder. Name a file in it, such as {target / 'comparison.json'}.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LightAdaptError(f"The folder of {target} cannot be made: {error}. Name another file.") from error
    return target


def _go_on(comparison: Comparison, target: Path | None) -> Comparison:
    """The comparison with the runs that the file holds already."""
    if target is None or not target.is_file():
        return comparison
    earlier = read_comparison(target)
    check_same(earlier, comparison, target)
    return replace(comparison, runs=earlier.runs)


# ---- what a comparison is of


def _empty(job: _Job, title: str | None, data: str) -> Comparison:
    """The comparison without its runs."""
    where = _short(data) if Path(data).is_file() else "records in memory" if data == Records([]).source else data
    model = _short(job.model) if Path(job.model).is_dir() else job.model
    setting = Setting(
        model=model,
        task=job.task.name,
        data=where,
        train=len(job.train),
        test=len(job.test),
        epochs=job.epochs,
        layers=job.layers if job.layers is None or isinstance(job.layers, str) else list(job.layers),
        device=job.device,
        threads=job.threads or torch.get_num_threads(),
        digest=_digest(job),
    )
    return Comparison(title=title or f"{where}, {model}", setting=setting, machine=describe_machine(job.device))


def _short(path: str) -> str:
    """The last two parts of a path: in full it would tell where somebody keeps files, and one is often `train`."""
    return "/".join(Path(path).resolve().with_suffix("").parts[-2:])


def _digest(job: _Job) -> str:
    config = find_source(job.model).config.to_dict()
    for name in ("_name_or_path", "transformers_version"):
        config.pop(name, None)
    labels = list(job.task.labels or ()) if isinstance(job.task, LabelledTask) else []
    parts = [job.train, job.test, config, job.task.settings(), labels]
    content = json.dumps(parts, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def describe_machine(device: str = "cpu") -> dict[str, str]:
    """What the figures of time and memory depend on: processor, memory, system and versions."""
    facts = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in VERSIONS},
        "lightadapt": lightadapt.__version__,
    }
    if device.startswith("cuda"):
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def _processor() -> str:
    """The name of the processor, with the widest vectors it computes with where torch knows them."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


# ---- runs


def _only_fields(item: Mapping[str, Any], task: Task) -> Record:
    """A record with the fields of the task alone, as JSON holds them."""
    kept = {name: item[name] for name in task.fields if name in item}
    plain: Record = json.loads(json.dumps(kept, default=lambda value: np.asarray(value).tolist()))
    return plain


def _write_records(folder: Path, job: _Job) -> None:
    for name, part in (("train", job.train), ("test", job.test)):
        lines = [json.dumps(record) + "\n" for record in part]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def _run_apart(job: _Job, name: str, seed: int, folder: Path) -> Run:
    """The run of a method with a seed, in a process of its own."""
    if name in job.refused:
        return _without_path(Run(method=name, seed=seed, status="refused", reason=job.refused[name]), job.model)
    method, result, task_file = job.methods[name], folder / "run.json", folder / "job.json"
    result.unlink(missing_ok=True)
    labels = list(job.task.labels or ()) if isinstance(job.task, LabelledTask) else None
    content = {
        "name": name,
        "seed": seed,
        "model": job.model,
        "method": {"name": method.name, "settings": method.settings()},
        "task": {"name": job.task.name, "settings": job.task.settings(), "labels": labels},
        "train": str(folder / "train.jsonl"),
        "test": str(folder / "test.jsonl"),
        "epochs": job.epochs,
        "layers": job.layers,
        "device": job.device,
        "threads": job.threads,
        "result": str(result),
    }
    task_file.write_text(json.dumps(content), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "lightadapt.comparison.child", str(task_file)],
        env={**os.environ, **_same_imports()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    if result.is_file():
        return _without_path(Run(**json.loads(result.read_text(encoding="utf-8"))), job.model)
    said = (done.stderr.strip().splitlines() or [""])[-1]  # of a traceback the error itself
    return Run(method=name, seed=seed, status="failed", reason=said or f"the process ended with {done.returncode}")


def _same_imports() -> dict[str, str]:
    """What makes another Python find the modules that this one finds, and no file that lies in the current folder."""
    return {"PYTHONPATH": os.pathsep.join(each or os.getcwd() for each in sys.path), "PYTHONSAFEPATH": "1"}


def _without_path(run: Run, model: str) -> Run:
    """The run with the model's folder by its short name."""
    return replace(run, reason=run.reason.replace(model, _short(model))) if Path(model).is_dir() else run
