"""The errors that lightadapt raises on purpose; each says what is wrong, the value, and how to mend it."""

from collections.abc import Iterable
from difflib import get_close_matches


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
    """Interim."""
    import warnings

    warnings.warn(message, category, stacklevel=6)
