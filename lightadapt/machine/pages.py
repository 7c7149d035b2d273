"""Pages of memory that a computation has freed, kept for the next one in place of going back to the system.

glibc gives the system back what a step has freed, and the next step asks for it anew. The system fills each page with
zeros before it hands it over, which on a CPU is a tenth to a fifth of the time, 11,000 pages in a step of a small
encoder. Kept, they are the same pages each time: the peak of memory does not change, only when it falls.

What was set from outside stays: glibc's own variables (`MALLOC_…`, `GLIBC_TUNABLES`), and other C libraries.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Of `mallopt`, from malloc.h: the free bytes at the end of the heap that go back, and those of a block of its own."""
KEPT_BETWEEN = {MMAP_THRESHOLD: 32 * 2**20, TRIM_THRESHOLD: 64 * 2**20}
"""Where glibc's own thresholds end when they have grown with the largest blocks that a program has freed."""
KEPT_INSIDE = {MMAP_THRESHOLD: 2**30, TRIM_THRESHOLD: 2**31 - 1}
"""As much as `mallopt` can be told."""


@cache
def keep_pages() -> None:
    """Keep what predictions free, up to 64 MiB, from now on."""
    _set(KEPT_BETWEEN)


@contextmanager
def pages_kept() -> Iterator[None]:
    """Keep all that is freed inside a `with` block, and give it back at its end."""
    _set(KEPT_INSIDE)
    try:
        yield
    finally:
        _set(KEPT_BETWEEN)
        give_back()


def give_back() -> None:
    """Give the system what is free."""
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


def _set(thresholds: dict[int, int]) -> None:
    if (library := _glibc()) is not None:
        for name, value in thresholds.items():
            library.mallopt(name, value)


@cache
def _glibc() -> Any:
    """The C library, where it is glibc and nobody has told it already what to keep."""
    told = any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if told or platform.libc_ver()[0] != "glibc":
        return None
    return ctypes.CDLL(None)
