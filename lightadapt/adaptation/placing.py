"""Putting a folder in its place as a whole, while other processes save to the same place or read from it."""

from __future__ import annotations

import glob
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from lightadapt.errors import ArtifactError, shown

try:
    import fcntl
except ImportError:  # pragma: no cover - there is none on Windows: names are unique there, and readers look twice
    fcntl = None  # type: ignore[assignment]

MANIFEST_NAME = "lightadapt.json"
EXPORT_NAME = "lightadapt_export.json"
KINDS = {MANIFEST_NAME: "a saved adaptation", EXPORT_NAME: "an export"}
"""What a folder is, by the file in it that says what was written there."""
PATIENCE = 20.0
"""Seconds to wait for a lock; then it goes on without one, for a save must not be lost to a process that hangs."""


def folder_named(path: Any, example: str = "my-adapter") -> Path:
    """The folder of a path; that which it links to, where it is a link.

    Args:
        example: the name of a folder, as the error advises it.

    Raises:
        ArtifactError: the path is none, or none that this system can have.
    """
    if not isinstance(path, (str, Path)) or Path(path).name in ("", ".."):
        raise ArtifactError(f"path={shown(path)} does not name a folder. Give a folder, such as {example!r}.")
    folder = Path(path)
    try:
        os.lstat(folder)
        return folder.resolve() if folder.is_symlink() else folder
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # using it says so
        return folder
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ArtifactError(f"path={shown(str(path))} is not a folder name: {reason}.") from error


@contextmanager
def locked(folder: Path, *, shared: bool) -> Iterator[None]:
    """Keep savers out of the folders in `folder` for the time of a block, and readers too unless `shared`.

    The lock is the kernel's, on the folder itself: nothing is written, and none outlives its process. Where there are
    no such locks (Windows, some network file systems) the block runs without.
    """
    held = _open(folder)
    try:
        end = time.monotonic() + PATIENCE
        while held is not None and not _try_lock(held, shared=shared) and time.monotonic() < end:
            time.sleep(0.003)
        yield
    finally:
        _let_go(held)


def _open(folder: Path) -> int | None:
    try:
        return None if fcntl is None else os.open(folder, os.O_RDONLY)
    except OSError:
        return None


def _try_lock(held: int, *, shared: bool) -> bool:
    """Whether there is nothing more to wait for: the lock is taken, or this file system has none."""
    try:
        fcntl.flock(held, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _let_go(held: int | None) -> None:
    if held is not None:
        with suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_UN)  # said, since a process that was forked meanwhile holds it as well
        os.close(held)


@contextmanager
def fresh_folder(target: Path, manifest: str = MANIFEST_NAME) -> Iterator[Path]:
    """A new folder beside the target, to be written and put in its place; gone after the block if it was not.

    Args:
        manifest: the file by which a folder that may be replaced is told.

    Raises:
        ArtifactError: the target holds something else.
        OSError: there is no room or no right to make it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.parent, shared=False):
        settle(target, manifest)
        check_place(target, manifest)
        for left in target.parent.glob(f".{glob.escape(target.name)}.????????.part"):
            _clear(left)
        fresh = target.with_name(f".{target.name}.{uuid4().hex[:8]}.part")
        fresh.mkdir()
        held = _open(fresh)
        if held is not None:
            _try_lock(held, shared=False)  # says to others that it is being written
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        _let_go(held)


def _clear(left: Path) -> None:
    """Remove what a save that was killed has left; one that is being written is locked."""
    held = _open(left)
    if held is None:
        return
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(left, ignore_errors=True)
    except OSError:
        return
    finally:
        _let_go(held)


def check_place(target: Path, manifest: str = MANIFEST_NAME) -> None:
    """Raise unless the target is free or holds a folder of its own kind.

    Raises:
        ArtifactError: it holds something else.
    """
    if target.is_file() or (target.is_dir() and any(target.iterdir()) and not (target / manifest).is_file()):
        kind = KINDS.get(manifest, manifest)
        raise ArtifactError(f"{target} holds other files and is not {kind}. Choose another folder.")


def put_in_place(target: Path, fresh: Path, manifest: str = MANIFEST_NAME) -> None:
    """Put `fresh` in the place of `target`; files there that no save wrote stay.

    Raises:
        ArtifactError: the target holds files of somebody else that would have to give way.
        OSError: it cannot be renamed; the target is as it was.
    """
    with locked(target.parent, shared=False):
        settle(target, manifest)
        check_place(target, manifest)
        _check_foreign(target, fresh, manifest)
        if not target.is_dir():
            os.replace(fresh, target)
            return
        previous = previous_of(target)
        os.replace(target, previous)
        try:
            os.replace(fresh, target)
        except BaseException:
            os.replace(previous, target)
            raise
        _take_over(previous, target, manifest)


def _check_foreign(target: Path, fresh: Path, manifest: str) -> None:
    """Raise when a file of the user has a name that the save needs."""
    ours = _files_of(target, manifest)
    theirs = [] if ours is None or not target.is_dir() else [each.name for each in target.iterdir()]
    taken = sorted(name for name in theirs if name not in (ours or ()) and os.path.lexists(fresh / name))
    if taken:
        raise ArtifactError(
            f"{target} holds a file {taken[0]!r} that no save wrote there, and this one needs the name. Move it away, "
            "or choose another folder."
        )


def settle(target: Path, manifest: str = MANIFEST_NAME) -> None:
    """Finish what a crash in the middle of `put_in_place` left; to be called under the lock.

    The former artifact goes back to its place, or what is not ours in it to the new one.
    """
    previous = previous_of(target)
    if not previous.is_dir():
        return
    if (target / manifest).is_file():
        _take_over(previous, target, manifest)
    elif not target.exists() or not any(target.iterdir()):
        if target.exists():
            target.rmdir()
        os.replace(previous, target)


def previous_of(target: Path) -> Path:
    """Where the former artifact is while a new one takes its place."""
    return target.with_name(f".{target.name}.previous")


def _take_over(previous: Path, target: Path, manifest: str) -> None:
    """Move what no save wrote from the former folder to the new one, and remove the rest."""
    ours = _files_of(previous, manifest)
    for entry in sorted(previous.iterdir(), key=lambda each: each.name == manifest):  # the list of files last
        there = os.path.lexists(target / entry.name)
        if there if ours is None else entry.name in ours:
            _remove(entry)
        elif not there:
            os.replace(entry, target / entry.name)
    try:
        previous.rmdir()
    except OSError:  # two files of the user have one name: neither is given up
        os.replace(previous, target.with_name(f".{target.name}.{uuid4().hex[:8]}.kept"))


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)


def _files_of(folder: Path, manifest: str) -> set[str] | None:
    """The names of the files that a save wrote there; None where the manifest does not say."""
    try:
        return set(json.loads((folder / manifest).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
