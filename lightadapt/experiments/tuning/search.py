"""`tune`: everything is checked first, then settings are tried, each in a process of its own."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightadapt.anatomy import Layers
from lightadapt.data import Data
from lightadapt.errors import LightAdaptError
from lightadapt.experiments.jobs import write_records
from lightadapt.experiments.tuning.budget import Clock, read_budget
from lightadapt.experiments.tuning.inputs import Given, check_inputs
from lightadapt.experiments.tuning.results import Study, Trial, trials_of
from lightadapt.experiments.tuning.running import Search
from lightadapt.experiments.tuning.store import SPENT, Store, quiet_optuna, require_optuna
from lightadapt.methods import Method
from lightadapt.numbers import check_function, check_whole
from lightadapt.tasks import Task

DEFAULT_FOLDER = "lightadapt-tune"
"""The folder, in the current one, for studies whose storage is not named."""


def tune(
    model: str | Path,
    task: str | Task,
    train: Data,
    validation: Data | float,
    *,
    budget: str | float | None = None,
    trials: int | None = None,
    method: str | Method | None = None,
    search: Mapping[str, Any] | None = None,
    unseen: float | None = None,
    storage: str | Path | None = None,
    name: str = "study",
    layers: Layers = None,
    columns: Mapping[str, str] | None = None,
    device: str = "auto",
    threads: int | None = None,
    workers: int | None = None,
    seed: int = 0,
    on_trial: Callable[[Trial], None] | None = None,
) -> Study:
    """The settings that score best on the validation data, and what was learned with them.

    The first trial has the default settings, so the result is never worse than they are on this validation data. Each
    trial is a full run of `fit` in a process of its own; one that is behind others at a quarter or half of its schedule
    is broken off. The same call goes on where an earlier one stopped: trials that have ended are not repeated.

    Args:
        model: hub id or folder.
        task: as in `lightadapt.adapt`.
        train: training data in any form (see `lightadapt.data.read`).
        validation: what trials are scored on, likewise; or a share of the training data to hold out, such as 0.1.
        budget: the time that the search may take in all, earlier calls included: `"30min"`, `"2h"`, `"90s"`, or
            seconds. No trial begins that cannot end in it.
        trials: the number of trials in all; at least one of `budget` and `trials` is needed.
        method: the one to tune; None: `lora`, `bottleneck` and `ia3` are tried.
        search: what is searched beside or instead of the defaults, `{name: range}`. Names are those of `fit`
            (`"learning_rate"`), `"method"`, `"method.rank"`, `"task.class_weights"`, `"args.weight_decay"` or
            `"layers"`. A range is a list of choices, `(low, high)` or `(low, high, "log")`; a list of one value sets
            it for all trials.
        unseen: a share of the validation data on which no trial is scored, such as 0.5; what the best scores there is
            not optimistic for having been chosen.
        storage: where trials are kept: a folder, a journal file, or the URL of a database as Optuna takes it. Several
            processes may share it. None: a folder in `lightadapt-tune` that is the same for the same call.
        name: of the study in its storage.
        layers: as in `lightadapt.adapt`.
        columns: `{field: column}` for fields that have another name in the data.
        device: as in `lightadapt.adapt`.
        threads: cores that a trial computes on; None: as torch chooses.
        workers: trials that run at a time; None: one on each GPU, or one.
        seed: of what is tried, and of each trial.
        on_trial: called with each trial that ends.

    Raises:
        LightAdaptError: nothing can be searched like this, before any trial; or the default settings cannot be trained
            within the budget.
    """
    require_optuna()
    if budget is None and trials is None:
        raise LightAdaptError("Give budget='30min', a time, or trials=30, a number of runs, or both.")
    check_function("on_trial", on_trial)
    seconds = read_budget(budget)
    if trials is not None:
        check_whole("trials", trials)
    if not isinstance(name, str) or not name:
        raise LightAdaptError(f"name={name!r}: give a text, under which the storage keeps the study.")
    started = time.time()
    given = check_inputs(
        model,
        task,
        train,
        validation,
        unseen=unseen,
        method=method,
        search=search,
        layers=layers,
        columns=columns,
        device=device,
        threads=threads,
        workers=workers,
        seed=seed,
    )
    store = Store.at(storage, name, _default_folder(given))
    direction = "maximize" if given.task.greater_is_better else "minimize"
    with quiet_optuna():
        study = store.open(given.setting, direction=direction, seed=seed)
    spent = sum(value for key, value in study.user_attrs.items() if key.startswith(SPENT))
    with tempfile.TemporaryDirectory(prefix="lightadapt-tune-") as folder:
        write_records(Path(folder), train=given.train, validation=given.validation)
        clock = Clock(started, seconds, spent)
        Search(given, store, study, clock, trials, Path(folder), on_trial).run()
    return Study(
        model=given.model,
        task=given.task,
        methods=given.methods,
        setting=given.setting,
        trials=tuple(trials_of(study)),
        store=store,
        unseen=tuple(given.unseen),
        device=device,
    )


def _default_folder(given: Given) -> Path:
    """A folder by what is searched, so that the same call finds it again."""
    content = json.dumps(given.setting, sort_keys=True)
    return Path(DEFAULT_FOLDER) / f"{given.task.name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
