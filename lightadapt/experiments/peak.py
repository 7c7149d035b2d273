"""The most memory that a piece of work takes."""

from __future__ import annotations

import ctypes
import gc
import re
from contextlib import suppress
from pathlib import Path

import psutil
import torch

STATUS = Path("/proc/self/status")
"""Where Linux says how much memory this process has and had."""


def start_peak() -> int:
    """The bytes that this process has now; on Linux what is free is given back first, and the peak starts anew."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.reset_peak_memory_stats()
    if STATUS.is_file():
        with suppress(OSError, AttributeError):  # another C library than glibc, or a container that forbids it
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")
    return int(psutil.Process().memory_info().rss)


def peak_since(before: int, device: torch.device, *, seen: int = 0) -> int:
    """The most bytes over those that `start_peak` gave; on a GPU the most that was allocated there.

    `seen` stands in for the most that the process had where the system does not say it.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    highest = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text()) if STATUS.is_file() else None
    return max(0, (int(highest[1]) * 1024 if highest else seen) - before)
