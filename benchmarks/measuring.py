"""What benchmarks measure with: clocks, memory, the rate of the machine, sides that take turns, and their medians.

Nothing here needs lightadapt, so that other libraries' environments can be measured with the same.
"""

from __future__ import annotations

import ctypes
import gc
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

MIB = 2**20
Side = TypeVar("Side")
Facts = TypeVar("Facts")


# ---- runs


def take_turns(sides: Mapping[Side, Callable[[], Facts]], rounds: int) -> dict[Side, list[Facts]]:
    """What each side gives in each round; in a round all have their turn, so that a busy machine disturbs all alike."""
    found: dict[Side, list[Facts]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, run in sides.items():
            found[side].append(run())
    return found


def medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The medians of what the runs measured; what is the same in all of them stays as it is."""
    columns = {name: [run[name] for run in runs] for name in runs[0]}
    return {
        name: values[0]
        if values.count(values[0]) == len(values) or not isinstance(values[0], (int, float))
        else statistics.median(values)
        for name, values in columns.items()
    }


# ---- time


def both_clocks() -> tuple[float, float]:
    """Seconds on the wall and of this process's CPU, after what a GPU still has to do."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


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


# ---- memory (Linux only, or a GPU's)


def start_peak() -> int:
    """Give back what is free and let the peak start anew, on a GPU too; the bytes that are resident then."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _resident("VmRSS")


def peak_since(before: int) -> int:
    """Bytes, over those that `start_peak` gave: on a GPU that was used the most allocated, else the most resident."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    return _resident("VmHWM") - before


def _resident(what: str) -> int:
    return int(re.findall(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())[0]) * 1024


# ---- the machine and the model


def has_bf16(device: str) -> bool:
    """Whether the device multiplies bfloat16 matrices in instructions of its own, not by way of float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(text.split()))


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
