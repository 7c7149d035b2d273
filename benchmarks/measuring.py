"""What several benchmarks measure with: the seconds of a step, and the memory of a run in a process of its own."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

STEADY = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Makes glibc give memory back when it is freed, so that the peak is what was in use."""


def resident(what: str = "VmRSS") -> int:
    """Resident bytes of this process now, or at most since the last `start_peak` (`"VmHWM"`); Linux only."""
    return int(re.findall(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())[0]) * 1024


def start_peak() -> int:
    """Give back what is free and let the peak start anew; the bytes that are resident then."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return resident()


def run_apart(*arguments: str) -> dict[str, Any]:
    """The last line that this script prints, as JSON, when it is called with these arguments in another process."""
    done = subprocess.run(
        [sys.executable, sys.argv[0], *arguments],
        env={**os.environ, **STEADY},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def stepper(model: Any, batch: dict[str, torch.Tensor], objective: Any = None) -> Callable[[], float]:
    """A function that takes a training step with this loss or the model's own, and gives its seconds."""
    optimizer = torch.optim.AdamW((each for each in model.parameters() if each.requires_grad), lr=1e-4)
    model.train()

    def step() -> float:
        start = time.perf_counter()
        loss = model(**batch).loss if objective is None else objective(model, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - start

    return step
