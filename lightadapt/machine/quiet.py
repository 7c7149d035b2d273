"""Silence for transformers' own loading report: what is fresh is found, trained and saved here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from transformers.utils import logging

_lock = Lock()
_inside = 0
"""Blocks that are run now, in all threads together; what they change is the process's."""
_outside = (0, True)
"""The verbosity, and whether there are progress bars, outside of them."""


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no warnings of transformers inside the block, until the last one of all threads ends."""
    global _inside, _outside
    with _lock:
        if not _inside:
            _outside = logging.get_verbosity(), logging.is_progress_bar_enabled()
            logging.set_verbosity_error()
            logging.disable_progress_bar()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                level, bars = _outside
                logging.set_verbosity(level)
                if bars:
                    logging.enable_progress_bar()


def verbosity() -> int:
    """The verbosity of transformers, as it is outside of these blocks."""
    with _lock:
        return _outside[0] if _inside else logging.get_verbosity()
