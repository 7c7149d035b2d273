"""One run at a time writes checkpoints to a folder: another would remove them, or go on from them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lightadapt.errors import LightAdaptError
from lightadapt.training.checkpoints import is_unfinished, newest_first
from lightadapt.training.settings import Settings

try:
    import fcntl
except ImportError:  # pragma: no cover - there is none on Windows
    fcntl = None  # type: ignore[assignment]

NAME = ".running"
PATIENCE = 10.0
"""Seconds to wait for a run that was killed: processes that loaded its data end a little later."""


@contextmanager
def alone_in(settings: Settings, *, main: bool) -> Iterator[None]:
    """Keep other runs out of the folder for checkpoints, if there is one, for the time of a block.

    The lock is the kernel's, so none outlives its process. Where there are no such locks the block runs without.

    Args:
        main: whether this is the main process of the run, which does it for all.

    Raises:
        LightAdaptError: another run is in it, or was since this one began.
    """
    folder = settings.folder
    if folder is None or not main:
        yield
        return
    held = _hold(folder / NAME)
    try:
        if settings.checkpoint is None and not all(map(is_unfinished, newest_first(folder))):
            raise LightAdaptError(
                f"output_dir {folder}: another run has written checkpoints there meanwhile. Name another folder."
            )
        yield
    finally:
        if held is not None:
            with suppress(OSError):
                (folder / NAME).unlink()
            os.close(held)


def _hold(file: Path) -> int | None:
    end = time.monotonic() + PATIENCE
    while fcntl is not None:
        try:
            held = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None  # whether the folder can be written to is looked at elsewhere
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_there(held, file):
                return held
        except BlockingIOError:
            pass
        except OSError:  # some network file systems have no locks
            return held
        os.close(held)
        if time.monotonic() > end:
            raise LightAdaptError(
                f"output_dir {file.parent}: another run is writing its checkpoints there. Wait until it ends, or name "
                "another folder."
            )
        time.sleep(0.05)
    return None


def _is_there(held: int, file: Path) -> bool:
    """Whether the open file is the one of this name: the run before may have removed its own."""
    try:
        return os.path.samestat(os.fstat(held), file.stat())
    except OSError:
        return False
