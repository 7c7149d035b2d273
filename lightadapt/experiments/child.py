"""One run of a comparison, in a process of its own: `python -m lightadapt.experiments.child JOB.json`.

The job names the files of the records, the model, the task and the method; the run is written beside it. A process of
its own makes the peak of memory that of this run alone.
"""

from __future__ import annotations

import ctypes
import gc
import json
import re
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers.utils import logging

from lightadapt.adaptation.history import History
from lightadapt.adapted import Adapted
from lightadapt.api import adapt
from lightadapt.data import read
from lightadapt.errors import LightAdaptError
from lightadapt.experiments.comparison.results import Run
from lightadapt.methods import METHODS, Method
from lightadapt.tasks import TASKS, LabelledTask, Task

STATUS = Path("/proc/self/status")
"""Where Linux says how much memory this process has and had."""


def main() -> None:
    """Run the job that the first argument names, and write its result to the file that it names."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    warnings.filterwarnings("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if job["threads"]:
        torch.set_num_threads(job["threads"])
    run = run_job(job)
    Path(job["result"]).write_text(json.dumps(asdict(run)), encoding="utf-8")


def run_job(job: dict[str, Any]) -> Run:
    """Adapt, train, score and save; what lightadapt refuses is a run, too."""
    method = METHODS[job["method"]["name"]](**job["method"]["settings"])
    train, test = (read(job[part]).items for part in ("train", "test"))
    options = {"layers": job["layers"], "device": job["device"], "seed": job["seed"]}
    before = _start_peak()
    try:
        adapted = adapt(job["model"], _task_of(job), method, **options)
    except LightAdaptError as error:
        return Run(method=job["name"], seed=job["seed"], status="refused", reason=str(error))
    try:
        history = adapted.fit(train, epochs=job["epochs"], args={"disable_tqdm": True})
        peak = _peak_over(before, history, adapted.model.device)
        start = time.perf_counter()
        scores = adapted.evaluate(test)
    except LightAdaptError as error:
        return Run(method=job["name"], seed=job["seed"], status="failed", reason=str(error))
    return _as_run(job, adapted, method, history, scores, peak, time.perf_counter() - start)


def _task_of(job: dict[str, Any]) -> Task:
    known = TASKS[job["task"]["name"]]
    named = {"labels": job["task"]["labels"]} if issubclass(known, LabelledTask) else {}
    return known(**job["task"]["settings"], **named)


def _as_run(
    job: dict[str, Any],
    adapted: Adapted,
    method: Method,
    history: History,
    scores: dict[str, float],
    peak: int,
    scoring: float,
) -> Run:
    parameters = list(adapted.model.parameters())
    used = {"steps": history.steps, "scoring_seconds": round(scoring, 2)}
    return Run(
        method=job["name"],
        seed=job["seed"],
        trained=sum(each.numel() for each in parameters if each.requires_grad),
        total=sum(each.numel() for each in parameters),
        seconds=round(history.seconds, 2),
        tokens_per_second=round(history.tokens_per_second, 1),
        peak_memory=peak,
        saved=_saved_bytes(adapted),
        scores={name: round(value, 6) for name, value in scores.items()},
        settings={"method": str(method), **history.settings, **used},
    )


def _saved_bytes(adapted: Adapted) -> int:
    """Bytes of the weights in the artifact; the tokenizer, which is the same for all methods, is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        adapted.save(Path(folder) / "saved")
        return sum(file.stat().st_size for file in Path(folder).rglob("*.safetensors"))


# ---- memory


def _start_peak() -> int:
    """The bytes that this process has now; on Linux what is free is given back first, and the peak starts anew."""
    gc.collect()
    if STATUS.is_file():
        with suppress(OSError, AttributeError):  # another C library than glibc, or a container that forbids it
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")
    return int(psutil.Process().memory_info().rss)


def _peak_over(before: int, history: History, device: torch.device) -> int:
    """The most bytes since `before`: as the system counted, else as seen at the end of each step."""
    if device.type == "cuda":
        return history.peak_memory
    highest = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text()) if STATUS.is_file() else None
    most = int(highest[1]) * 1024 if highest else history.peak_memory
    return max(0, most - before)


if __name__ == "__main__":
    main()
