"""The process of a trial: what it is told, and what is made of its end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightadapt.experiments.apart import ChildError, call_apart
from lightadapt.experiments.jobs import task_of_job
from lightadapt.experiments.tuning.budget import Clock
from lightadapt.experiments.tuning.inputs import Given
from lightadapt.experiments.tuning.store import Store
from lightadapt.experiments.tuning.trial import run_trial
from lightadapt.methods import Method


def run_apart(
    given: Given,
    method: Method,
    settings: Mapping[str, Any],
    *,
    number: int | None,
    device: str,
    store: Store,
    clock: Clock,
    records: Path,
) -> dict[str, Any]:
    """What came of a trial in a process of its own; see `run_trial`.

    Args:
        number: of the trial in the study; None: it is the default one, which is not in the study yet.
        records: the folder with the files of records.
    """
    of_task, args = _below(settings, "task."), _below(settings, "args.")
    out = store.artifact(number or 0)
    out.parent.mkdir(parents=True, exist_ok=True)
    job = {
        "model": given.model,
        "task": task_of_job(replace(given.task, **of_task)),
        "method": method.as_json(),
        "layers": settings.get("layers", given.layers),
        "fit": {key: value for key, value in settings.items() if "." not in key and key not in ("method", "layers")},
        "args": args,
        "train": str(records / "train.jsonl"),
        "validation": str(records / "validation.jsonl"),
        "device": device,
        "seed": given.seed,
        "store": store.as_json(),
        "number": number,
        "out": str(out),
        "started": time.time(),
        "deadline": clock.deadline,
    }
    try:
        found: dict[str, Any] = call_apart(run_trial, {"job": job}, threads=given.threads, seconds=clock.patience)
    except ChildError as error:
        took = round(time.time() - job["started"], 2)
        end = "late" if clock.left <= 0 else "failed"
        found = {"end": end, "reason": error.reason, "points": [], "seconds": took, "fit_seconds": took, "passes": 0}
    return {**found, "elapsed": round(clock.passed, 2)}


def _below(settings: Mapping[str, Any], begin: str) -> dict[str, Any]:
    return {name.removeprefix(begin): value for name, value in settings.items() if name.startswith(begin)}
