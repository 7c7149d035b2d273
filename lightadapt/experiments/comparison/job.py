"""One run of a comparison, which `call_apart` gives a process of its own.

The job names the files of the records, the model, the task and the method.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lightadapt import peft_bridge
from lightadapt.adaptation.history import History
from lightadapt.adapted import Adapted
from lightadapt.api import adapt
from lightadapt.data import read
from lightadapt.errors import LightAdaptError
from lightadapt.evaluation.scores import Scores
from lightadapt.experiments.comparison.results import Outcome
from lightadapt.experiments.peak import peak_since, start_peak
from lightadapt.methods import Method, method_of_json
from lightadapt.tasks import task_of_json


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """The outcome of a job as JSON holds it."""
    return asdict(_run(job))


def _run(job: dict[str, Any]) -> Outcome:
    """Adapt, train, score and save; what lightadapt refuses is an outcome, too."""
    method = method_of_json(job["method"])
    train, test = (read(job[part]).items for part in ("train", "test"))
    options = {"layers": job["layers"], "device": job["device"], "seed": job["seed"]}
    before = start_peak()
    try:
        adapted = adapt(job["model"], task_of_json(job["task"], job["task"]["labels"]), method, **options)
    except LightAdaptError as error:
        return Outcome(method=job["name"], seed=job["seed"], status="refused", reason=str(error))
    try:
        history = adapted.fit(train, epochs=job["epochs"], args={"disable_tqdm": True})
        peak = _peak_of(history, before, adapted.model.device)
        start = time.perf_counter()
        scores = adapted.evaluate(test)
    except LightAdaptError as error:
        return Outcome(method=job["name"], seed=job["seed"], status="failed", reason=str(error))
    return _as_outcome(job, adapted, method, history, scores, peak, time.perf_counter() - start)


def _peak_of(history: History, before: int, device: torch.device) -> int:
    """The peak of training over the bytes before; on a GPU as `fit` saw it."""
    return history.peak_memory if device.type == "cuda" else peak_since(before, device, seen=history.peak_memory)


def _as_outcome(
    job: dict[str, Any],
    adapted: Adapted,
    method: Method,
    history: History,
    scores: Scores,
    peak: int,
    scoring: float,
) -> Outcome:
    parameters = list(adapted.model.parameters())
    used = {"steps": history.steps, "scoring_seconds": round(scoring, 2)}
    return Outcome(
        method=job["name"],
        seed=job["seed"],
        trained=sum(each.numel() for each in parameters if each.requires_grad),
        total=sum(each.numel() for each in parameters),
        seconds=round(history.seconds, 2),
        tokens_per_second=round(history.tokens_per_second, 1),
        peak_memory=peak,
        saved=_saved_bytes(adapted),
        scores={name: round(value, 6) for name, value in scores.items()},
        intervals={name: [round(each.low, 6), round(each.high, 6)] for name, each in scores.intervals.items()},
        settings={"method": str(method), **history.settings, **used},
    )


def _saved_bytes(adapted: Adapted) -> int:
    """Bytes of the trained weights in the artifact; what is the same for all methods is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        adapted.save(Path(folder) / "saved")
        return (Path(folder) / "saved" / peft_bridge.WEIGHTS_NAME).stat().st_size
