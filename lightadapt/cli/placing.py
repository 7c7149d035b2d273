"""Where results go: nothing that is there already is written over without being told to."""

from __future__ import annotations

from pathlib import Path

from lightadapt.adaptation.placing import MANIFEST_NAME
from lightadapt.errors import LightAdaptError, unquoted


def check_file(option: str, path: Path | None, *read: str | None) -> None:
    """Raise when no file can be written there, so that nothing is computed in vain.

    Args:
        read: the data that the command reads, which is not to be lost.

    Raises:
        LightAdaptError: its folder is not there, it is a folder itself, or it is the data.
    """
    if path is None:
        return
    if path.exists() and any(name and Path(name).exists() and path.samefile(name) for name in read):
        raise LightAdaptError(f"{option} {unquoted(str(path))} is the file that is read. Name another one.")
    if path.is_dir():
        raise LightAdaptError(f"{option} {unquoted(str(path))} is a folder. Name a file in it.")
    if not path.parent.is_dir():
        raise LightAdaptError(f"{option} {unquoted(str(path))}: there is no folder {unquoted(str(path.parent))}.")


def check_free(out: Path, *, overwrite: bool | None = False) -> None:
    """Raise when something is in the place of what is to be written.

    Args:
        overwrite: whether an older saved adaptation may be replaced; None: the command never does.

    Raises:
        LightAdaptError: it is taken.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if overwrite and (out / MANIFEST_NAME).is_file():
        return
    hint = ", or add --overwrite" if overwrite is not None and (out / MANIFEST_NAME).is_file() else ""
    raise LightAdaptError(f"{out} is there already. Choose another place for --out{hint}.")
