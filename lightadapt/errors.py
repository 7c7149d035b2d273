"""The errors and warnings that lightadapt gives on purpose: what is wrong, the value, and how to put it right."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from types import FrameType
from typing import Any, ClassVar

BETWEEN = {"lightadapt", "accelerate", "datasets", "peft", "torch", "transformers", *sys.stdlib_module_names}
"""The packages whose code may stand between a call of the user and a warning about it."""


LONGEST = 1_000
"""Characters of a message beyond which its middle is left out, whatever the values in it."""


class LightAdaptError(ValueError):
    """Base of every error raised on purpose; its message can be printed and is short enough to be read."""

    longest: ClassVar[int] = LONGEST

    def __init__(self, message: str = "") -> None:
        # Half a surrogate pair in a name would make printing the error an error.
        message = str(message).encode("utf-8", "backslashreplace").decode()
        if len(message) > self.longest:
            message = f"{message[: LONGEST // 2 - 3]} … {message[-LONGEST // 2 :]}"
        super().__init__(message)


class ArgumentError(LightAdaptError, TypeError):
    """A call has an argument that is not known, or lacks one; for Python this is a TypeError."""


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


class NoAdaptationError(LightAdaptError):
    """There is no adaptation of the name that was given, or it was removed while it was asked for."""


class ArtifactError(LightAdaptError):
    """A saved adaptation cannot be written, or does not fit what it is loaded on."""


def shown(value: Any, longest: int = 80) -> str:
    """A value as an error shows it: its `repr`, shortened; it never fails, and takes no time for a large value.

    >>> shown("a" * 100, longest=10)
    "'aaaaaaaa…"
    >>> shown(list(range(100)))
    '[0, 1, 2, 3, 4, 5, …]'
    """
    try:
        text = _brief(value, levels=3, longest=longest).encode("utf-8", "backslashreplace").decode()
    except Exception:  # what repr of a foreign object raises
        text = f"a {type(value).__name__[:40]} that cannot be shown"
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def unquoted(text: str, longest: int = 80) -> str:
    """A text as an error shows it without quotes around it: on one line, what cannot be printed escaped, shortened.

    >>> unquoted('C:/new "folder"' * 10, longest=17)
    'C:/new "folder"C…'
    """
    # What is printable is left as it is, where `repr` would escape quotes and backslashes. A lone surrogate is not.
    whole = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text[: longest + 1])
    return whole if len(text) <= longest and len(whole) <= longest else f"{whole[: longest - 1]}…"


def _brief(value: Any, *, levels: int, longest: int) -> str:
    """The `repr` of a value, of which what is large is left out before it is made."""
    if isinstance(value, (str, bytes, bytearray)):
        return repr(value[:longest])
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a whole number of about {value.bit_length() * 3 // 10:,} digits"
    if not isinstance(value, (list, tuple, set, frozenset, Mapping)):
        return repr(value)
    opening, closing = "()" if isinstance(value, tuple) else "[]" if isinstance(value, list) else "{}"
    if not value:
        return repr(value)
    if not levels:
        return f"{opening}…{closing}"
    first = [
        f"{_brief(each, levels=levels - 1, longest=longest)}: {_brief(value[each], levels=levels - 1, longest=longest)}"
        if isinstance(value, Mapping)
        else _brief(each, levels=levels - 1, longest=longest)
        for each in islice(value, 6)
    ]
    rest = ", …" if len(value) > 6 else "," if opening == "(" and len(value) == 1 else ""
    return f"{opening}{', '.join(first)}{rest}{closing}"


def listed(names: Iterable[Any], most: int = 12) -> str:
    """Names with commas between, as an error lists them: the first ones where there are many, each shortened.

    >>> listed(["text", "label"])
    'text, label'
    """
    names = list(names)
    first = [name if isinstance(name, str) and len(name) <= 40 else shown(name, 40) for name in names[:most]]
    return ", ".join([*first, f"… ({len(names):,} in all)"] if len(names) > most else first)


def nearest(name: Any, known: Iterable[Any], cutoff: float = 0.6) -> str:
    """The sentence `Did you mean 'x'? ` for the closest known name, or nothing when none is close.

    Args:
        cutoff: how alike two names must be, from 0 to 1.

    >>> nearest("lorra", ["lora", "prefix"])
    "Did you mean 'lora'? "
    """
    if not isinstance(name, str) or len(name) > 100:
        return ""
    # Names of such length are no slips, and thousands of them would take seconds to compare with.
    spelt = {entry.lower(): entry for entry in islice(known, 2_000) if isinstance(entry, str) and len(entry) <= 100}
    match = get_close_matches(name.lower(), spelt, n=1, cutoff=cutoff)
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
