"""Checkpoints: complete ones have a seal, the digests of all their files; only such a one is gone on from.

Earlier versions wrote no seal: theirs are gone on from, with a warning, when all of their files can be read.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, sort_checkpoints

from lightadapt.adaptation.digests import digest_of, digests_of
from lightadapt.adaptation.placing import MANIFEST_NAME
from lightadapt.errors import LightAdaptError, warn
from lightadapt.peft_bridge import WEIGHTS_NAME

SEAL_NAME = "checkpoint.json"
"""The file with the digests, which is written last."""
STATES = {"optimizer": "optim", "schedule": "scheduler", "random numbers": "rng_state", "run": "trainer_state.json"}
"""What a run goes on with, and what the names of its files hold; DeepSpeed has names of its own for the optimizer."""


def seal(folder: Path) -> None:
    """Write the digests of a checkpoint's files into it, which says that it is complete."""
    digests = digests_of(folder, but=SEAL_NAME)
    (folder / SEAL_NAME).write_text(json.dumps({"sha256": digests}, indent=2) + "\n", encoding="utf-8")


def why_incomplete(folder: Path) -> str:
    """What a checkpoint lacks, or what of it is damaged; empty when it is as it was sealed."""
    if is_earlier(folder):
        return _why_unreadable(folder)
    try:
        digests = json.loads((folder / SEAL_NAME).read_text(encoding="utf-8"))["sha256"]
    except FileNotFoundError:
        return f"{SEAL_NAME} is missing, so it was not written to the end"
    except (OSError, ValueError, KeyError, TypeError):
        return f"{SEAL_NAME} is damaged"
    if not isinstance(digests, dict) or not all(isinstance(value, str) for value in digests.values()):
        return f"{SEAL_NAME} is damaged"
    for name, digest in digests.items():
        file = folder / name
        if ".." in Path(name).parts or not file.is_file():
            return f"{name} is missing"
        try:
            if digest_of(file) != digest:
                return f"{name} is damaged"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return ""


def is_earlier(folder: Path) -> bool:
    """Whether a checkpoint is of an earlier version, whose manifests had no digest of themselves either."""
    if (folder / SEAL_NAME).exists() or is_unfinished(folder):
        return False
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and "digest" not in manifest


def _why_unreadable(folder: Path) -> str:
    """Which file of a checkpoint without digests is missing or cannot be read; empty when all can."""
    if not (folder / WEIGHTS_NAME).is_file():
        return f"{WEIGHTS_NAME} is missing"
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            damaged = not _READERS.get(file.suffix, lambda _: True)(file)
        except (OSError, ValueError, RecursionError, SafetensorError, zipfile.BadZipFile):
            damaged = True
        if damaged:
            return f"{file.relative_to(folder)} is damaged"
    return ""


def _is_json(file: Path) -> bool:
    json.loads(file.read_text(encoding="utf-8"))
    return True


def _is_zip(file: Path) -> bool:
    """Whether all parts of a file of torch are as their checksums say."""
    with zipfile.ZipFile(file) as parts:
        return parts.testzip() is None


def _is_safetensors(file: Path) -> bool:
    with safe_open(file, "pt"):
        return True


_READERS = {".json": _is_json, ".pt": _is_zip, ".pth": _is_zip, ".safetensors": _is_safetensors}
"""What reads the files of a kind, and says whether they are whole."""


def why_no_return(folder: Path) -> str:
    """Why a run cannot go on from this checkpoint; empty when it can."""
    reason = why_incomplete(folder)
    if reason:
        return reason
    names = [file.name for file in folder.rglob("*") if file.is_file()]
    lost = [what for what, part in STATES.items() if not any(part in name for name in names)]
    if any(name.endswith("_optim_states.pt") for name in names):  # DeepSpeed keeps the schedule among them
        lost = [what for what in lost if what != "schedule"]
    return f"it holds no state of the {lost[0]}" if lost else ""


def find_last(folder: Path) -> Path | None:
    """The newest checkpoint that a run can go on from, with a warning for newer ones that are passed over.

    Raises:
        LightAdaptError: there are checkpoints that were complete once, and none is now.
    """
    passed: list[str] = []
    found = newest_first(folder)
    for path in found:
        reason = why_no_return(path)
        if not reason:
            for text in passed:
                warn(f"{text}. The run goes on from {path.name}, the last complete one.")
            if is_earlier(path):
                warn(
                    f"{path} was saved by an earlier version, which wrote no digests. All that a run goes on with is "
                    "there and can be read; whether it is as it was saved cannot be checked."
                )
            return path
        passed.append(f"{path} is passed over: {reason}")
    if all(is_unfinished(path) for path in found):
        for path in found:
            warn(f"{path} was being written when its run was ended. No other is there: the run starts afresh.")
        return None
    if passed:
        raise LightAdaptError(
            f"output_dir {folder} holds no complete checkpoint to resume from. "
            + "; ".join(text.replace(" is passed over", "") for text in passed[:3])
            + ". Put the files back, or start afresh in another folder."
        )
    return None


def is_unfinished(folder: Path) -> bool:
    """Whether a run was ended while it wrote this checkpoint."""
    return _mark(folder).is_file() and not (folder / SEAL_NAME).is_file()


def _mark(folder: Path) -> Path:
    """The file that lies beside a checkpoint as long as it is written."""
    return folder.with_name(f".{folder.name}.writing")


def newest_first(folder: Path) -> list[Path]:
    """The folders of all checkpoints, complete or not."""
    return [Path(path) for path in reversed(sort_checkpoints(str(folder)))]


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return folder / f"{PREFIX_CHECKPOINT_DIR}-{step}"


@contextmanager
def writing(folder: Path, *, given: bool, main: bool) -> Iterator[None]:
    """The time in which a checkpoint is written; where that fails, what was written of it is taken away.

    Args:
        given: whether the user named the folder that it is in.
        main: whether this is the process that writes.

    Raises:
        LightAdaptError: naming the folder, the reason and the last complete checkpoint.
    """
    try:
        if main:
            _mark(folder).touch()
            if folder.is_dir() and not (folder / SEAL_NAME).is_file():
                shutil.rmtree(folder)  # of a run that was killed
            (folder / SEAL_NAME).unlink(missing_ok=True)
        yield
        if main:
            _mark(folder).unlink()
    except torch.OutOfMemoryError:
        raise
    except (OSError, RuntimeError, LightAdaptError) as error:
        if main:
            shutil.rmtree(folder, ignore_errors=True)
            _mark(folder).unlink(missing_ok=True)
        raise LightAdaptError(_cannot_write(folder, str(error), given=given)) from error


def _cannot_write(folder: Path, reason: str, *, given: bool) -> str:
    if not given:
        return (
            f"The weights of an evaluation cannot be kept in the temporary folder {folder.parent}: {reason}. Give "
            "output_dir=…, a folder with room."
        )
    last = next((path for path in newest_first(folder.parent) if not why_no_return(path)), None)
    then = f"{last.name} is complete: resume=True goes on from there" if last else "No checkpoint is complete"
    return (
        f"{folder.name} cannot be written to output_dir {folder.parent}: {reason}. {then}. See that the folder has "
        "room and may be written to."
    )


def check_writable(folder: Path) -> None:
    """Raise when nothing can be written into a folder.

    Raises:
        LightAdaptError: it cannot be made, or is read-only.
    """
    trial = folder / ".lightadapt-trial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink(missing_ok=True)  # another process may have tried at the same time
    except (OSError, ValueError) as error:  # a ValueError is for a name that no path has
        raise LightAdaptError(
            f"output_dir {folder} cannot be written to: {error}. Name another folder, or change its permissions."
        ) from error
