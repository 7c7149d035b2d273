"""What goes wrong in a command: a line for the reader, and an exit status for the shell."""

from __future__ import annotations

import gc
import logging
import os
import re
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import typer

from lightadapt.errors import LightAdaptError, unquoted
from lightadapt.machine.late import import_peft

FAILED = 1
"""Status of what lightadapt refuses; 2 is that of an option which does not exist."""
INTERRUPTED = 130
"""Status after Ctrl-C, as shells count it: 128 and the number of the signal."""
_COLUMNS = re.compile(r"columns=\{((?:'[^']*': '[^']*'(?:, )?)+)\}")
"""Advice on columns as a call has it."""


@contextmanager
def reported(told: dict[str, str] | None = None, *, forms: bool = True) -> Iterator[None]:
    """Errors raised on purpose end the command with a line on stderr; warnings are a line each.

    What the block imports gets PEFT without bitsandbytes, as it does through the public names of lightadapt.

    Args:
        told: what an error calls an argument of the library, and what the command line calls it.
        forms: say in a line each in which form data is.

    Raises:
        typer.Exit: the block could not do its work, or was interrupted.
    """
    with warnings.catch_warnings(), _logging() if forms else nullcontext():
        warnings.showwarning = _show_warning
        try:
            _import_heavy()
            yield
        except LightAdaptError as error:
            typer.echo(f"Error: {_told(str(error), told or {})}", err=True)
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            typer.echo("Interrupted.", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # whoever reads the output has had enough, as `head` has
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(FAILED) from None
        except OSError as error:  # of the file that results go to: its folder, its rights, the room on the disk
            place = error.filename or "the output"
            typer.echo(
                f"Error: {unquoted(str(place))} cannot be written or read ({error.strerror or error}).", err=True
            )
            raise typer.Exit(FAILED) from None


def _import_heavy() -> None:
    """Import torch, transformers and PEFT without looking for garbage among what they bring, now or when Python ends.

    There is none: the 380,000 objects stay as long as the process does, and each search visits them all, which takes a
    third of the time of a command such as `inspect`.
    """
    if "peft" in sys.modules:
        return
    enabled = gc.isenabled()
    gc.disable()
    try:
        import_peft()
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


@contextmanager
def _logging() -> Iterator[None]:
    """What the library tells its logger, such as the form that data is in, is a line each on stderr."""
    log, handler = logging.getLogger("lightadapt"), _Lines()
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


class _Lines(logging.Handler):
    """A line for each thing that is told, once, though a command may read its data twice."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line not in self._said:
            self._said.add(line)
            typer.echo(line, err=True)


def _told(message: str, told: dict[str, str]) -> str:
    for name, option in told.items():
        message = message.replace(name, option)
    return _COLUMNS.sub(lambda found: _as_options(found[1]), message)


def _as_options(columns: str) -> str:
    """The options of a command for the inside of a dict of columns.

    >>> _as_options("'text': 'my sentence', 'label': 'stars'")
    "--columns 'text=my sentence' --columns label=stars"
    """
    pairs = re.findall(r"'([^']*)': '([^']*)'", columns)
    return " ".join(f"--columns {shlex.quote(f'{field}={column}')}" for field, column in pairs)


def _show_warning(message: Warning | str, category: type[Warning], *args: Any, **kwargs: Any) -> None:
    typer.echo(f"Warning: {message}", err=True)
