"""A disk that is full, told as such whichever library came upon it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LEAST = 2**16
"""Bytes of room below which a file that could not be written, or read again, is a matter of room."""
NO_ROOM = ("No space left on device", "os error 28")
"""What safetensors and tokenizers say, in exceptions of their own."""


@contextmanager
def as_no_room(folder: Path) -> Iterator[None]:
    """Raise an OSError for whatever fails in a block because the disk of a folder is full.

    Some libraries leave a file that ends too early, and stumble over it later with a word about its content.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if any(part in str(error) for part in NO_ROOM) or shutil.disk_usage(folder).free < LEAST:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise
