"""The errors and warnings that lightadapt gives on purpose: what is wrong, the value, and how to mend it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from types import FrameType

BETWEEN = {"lightadapt", "accelerate", "datasets", "peft", "torch", "transformers", *sys.stdlib_module_names}
"""The packages whose code may stand between a call of the user and a warning about it."""


class LightAdaptError(ValueError):
    """Base of every error raised on purpose."""


class DataError(LightAdaptError):
    """A record, or a file of records, cannot be used as it is."""


class RecordError(DataError):
    """A record that a task cannot encode. Whoever knows where its records come from raises `at(place)` instead."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"Record {index}: {reason}")
        self.index = index
        self.reason = reason

    def at(self, place: str) -> DataError:
        """The same error, with the record's file and line."""
        return DataError(f"{place}: {self.reason}")


class ArtifactError(LightAdaptError):
    """A saved adaptation cannot be written, or does not fit what it is loaded on."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The sentence `Did you mean 'x'? ` for the closest known name, or nothing when none is close."""
    spelt = {entry.lower(): entry for entry in known}
    match = get_close_matches(str(name).lower(), spelt, n=1)
    return f"Did you mean {spelt[match[0]]!r}? " if match else ""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line that called lightadapt, however deep in it the reason is found.

    The frames of the libraries that it works through do not count: a warning from within Trainer's loop is about the
    caller's `fit`. Where lightadapt itself was started, as its command line is, the outermost line is named.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _package_of(frame) in BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _package_of(frame: FrameType) -> str:
    """The outermost package of the code that a frame runs; `python -m lightadapt` is of lightadapt, too."""
    names = frame.f_globals
    return str(names.get("__package__") or names.get("__name__") or "").partition(".")[0]
