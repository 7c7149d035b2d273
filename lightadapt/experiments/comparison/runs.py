"""`compare`: everything is checked first, then each method and seed runs in a process of its own."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from lightadapt.anatomy import Layers
from lightadapt.data import Data, Records
from lightadapt.errors import LightAdaptError
from lightadapt.experiments.apart import ChildError, call_apart
from lightadapt.experiments.comparison.inputs import (
    USUAL_METHODS,
    Inputs,
    check_inputs,
    choose_records,
    name_methods,
)
from lightadapt.experiments.comparison.job import run_job
from lightadapt.experiments.comparison.results import Comparison, Outcome, Setting, check_same, read_comparison
from lightadapt.experiments.jobs import digest_of, read_data, short_name, task_of_job, write_records
from lightadapt.experiments.machine import describe_machine
from lightadapt.methods import Method
from lightadapt.numbers import check_function, check_whole
from lightadapt.tasks import Task


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
    on_run: Callable[[Outcome], None] | None = None,
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
    check_whole("seeds", seeds)
    check_function("on_run", on_run)
    named = name_methods(methods)
    chosen, examples, tests = read_data(task, train, test, columns)
    given = check_inputs(
        model,
        chosen,
        named,
        train=choose_records(examples, records),
        test=tests,
        epochs=epochs,
        layers=layers,
        device=device,
        threads=threads,
    )
    target = _check_path(path)
    comparison = _go_on(_empty(given, title, str(examples.source)), target)
    done = {(run.method, run.seed) for run in comparison.runs if run.status == "done"}
    with tempfile.TemporaryDirectory(prefix="lightadapt-compare-") as folder:
        write_records(Path(folder), train=given.train, test=given.test)
        # The methods take turns, so that what disturbs the machine for a while disturbs them alike.
        for seed, name in itertools.product(range(seeds), named):
            if (name, seed) in done:
                continue
            run = _run_apart(given, name, seed, Path(folder))
            comparison = comparison.with_run(run)
            if target is not None:
                comparison.save(target)
            if on_run is not None:
                on_run(run)
    return comparison.only(list(named), range(seeds))


def _check_path(path: str | Path | None) -> Path | None:
    """The file for the results, whose folder exists."""
    if path is None:
        return None
    target = Path(path)
    try:
        if target.is_dir():
            raise LightAdaptError(f"{target} is a folder. Name a file in it, such as {target / 'comparison.json'}.")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=target.name):
            pass  # the results are written so, too
    except LightAdaptError:
        raise
    except (OSError, ValueError) as error:  # a ValueError is for a name that no path has
        raise LightAdaptError(f"{target} cannot be written: {error}. Name another file.") from error
    return target


def _go_on(comparison: Comparison, target: Path | None) -> Comparison:
    """The comparison with the runs that the file holds already."""
    if target is None or not target.is_file():
        return comparison
    earlier = read_comparison(target)
    check_same(earlier, comparison, target)
    return replace(comparison, runs=earlier.runs)


# ---- what a comparison is of


def _empty(given: Inputs, title: str | None, data: str) -> Comparison:
    """The comparison without its runs."""
    where = short_name(data) if Path(data).is_file() else "records in memory" if data == Records([]).source else data
    model = short_name(given.model) if Path(given.model).is_dir() else given.model
    setting = Setting(
        model=model,
        task=given.task.name,
        data=where,
        train=len(given.train),
        test=len(given.test),
        epochs=given.epochs,
        layers=given.layers if given.layers is None or isinstance(given.layers, str) else list(given.layers),
        device=given.device,
        threads=given.threads or torch.get_num_threads(),
        digest=digest_of(given.model, given.task, given.train, given.test),
    )
    return Comparison(title=title or f"{where}, {model}", setting=setting, machine=describe_machine(given.device))


# ---- runs


def _run_apart(given: Inputs, name: str, seed: int, folder: Path) -> Outcome:
    """The run of a method with a seed, in a process of its own."""
    if name in given.refused:
        return _without_path(Outcome(method=name, seed=seed, status="refused", reason=given.refused[name]), given.model)
    method = given.methods[name]
    job = {
        "name": name,
        "seed": seed,
        "model": given.model,
        "method": {"name": method.name, "settings": method.settings()},
        "task": task_of_job(given.task),
        "train": str(folder / "train.jsonl"),
        "test": str(folder / "test.jsonl"),
        "epochs": given.epochs,
        "layers": given.layers,
        "device": given.device,
    }
    try:
        found = call_apart(run_job, {"job": job}, threads=given.threads)
    except ChildError as error:
        return Outcome(method=name, seed=seed, status="failed", reason=error.reason)
    return _without_path(Outcome(**found), given.model)


def _without_path(run: Outcome, model: str) -> Outcome:
    """The run with the model's folder by its short name."""
    return replace(run, reason=run.reason.replace(model, short_name(model))) if Path(model).is_dir() else run
