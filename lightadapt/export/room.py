"""What goes wrong with files while something is exported, told as what it is, whichever library came upon it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightadapt.errors import ArtifactError, shown

LEAST = 2**16
"""Bytes of room below which a file that could not be written, or read again, is a matter of room."""
NO_ROOM = ("No space left on device", "os error 28")
"""What safetensors and tokenizers say, in exceptions of their own."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def as_no_room(folder: Path) -> Iterator[None]:
    """Raise an OSError for whatever fails in a block because the disk of a folder is full.

    Some libraries leave a file that ends too early, and stumble over it later with a word about its content.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None and any(part in str(error) for part in NO_ROOM):
            raise no_room() from error
        raise
    except Exception as error:
        if any(part in str(error) for part in NO_ROOM) or shutil.disk_usage(folder).free < LEAST:
            raise no_room() from error
        raise


def no_room() -> OSError:
    """What the system says where the disk is full."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def as_artifact_error(target: Path, base: str) -> Iterator[None]:
    """Raise an ArtifactError for what goes wrong with files in a block, with what is to be done about it.

    Args:
        target: the folder that is to be written.
        base: what the base model is called, which some formats load again.
    """
    try:
        yield
    except OSError as error:
        raise ArtifactError(f"{_told(error, target, base)} What was exported there before is unchanged.") from error


def _told(error: OSError, target: Path, base: str) -> str:
    """What happened, and what to do."""
    reason, file = error.strerror or shown(str(error), 300)[1:-1], _file_of(error)
    if error.errno in FULL:
        full = target if file is None or _is_of(file, target) else file
        return f"{target} cannot be written: {reason}. Make room on the disk of {full}."
    if error.errno is None:  # what libraries say that load a model and do not find it, or do not reach it
        return (
            f"The export to {target} has ended: {reason.rstrip('.')}. If it is the base {base} that was not found, see "
            "that it is where it was."
        )
    if file is not None and not _is_of(file, target):
        return f"{file} cannot be read: {reason}. It is needed for the export to {target}."
    if error.errno in FORBIDDEN:
        return (
            f"{target} cannot be written: {reason}. Change the permissions of {target.parent}, or choose a folder that "
            "you may write to."
        )
    return f"{target} cannot be written: {reason}. Choose another folder."


def _file_of(error: OSError) -> Path | None:
    """The file that the error is about, where it says so."""
    return Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes, os.PathLike)) else None


def _is_of(file: Path, target: Path) -> bool:
    """Whether a file is written for the target: in it, beside it under its name, or a folder that it is made in."""
    file, target = file.absolute(), target.absolute()
    if target.is_relative_to(file):
        return True
    beside = file.relative_to(target.parent).parts[0] if file.is_relative_to(target.parent) else ""
    return beside == target.name or beside.startswith(f".{target.name}.")
