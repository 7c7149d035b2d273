"""Logs as lines of JSON, for machines to read; a request's line holds nothing of its inputs."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import Any, TextIO

NAMES = ("lightadapt.serving", "uvicorn.error", "transformers")
"""Loggers that write here alone; those that are not named write here beside what handlers the program gave them."""
log = logging.getLogger(NAMES[0])
_requests: ContextVar[tuple[str, ...]] = ContextVar("requests", default=())
"""The ids of the requests for which something is done now."""


class Lines(logging.Formatter):
    """A record of the log as one line of JSON; what it says beside its message is in `extra={"facts": {…}}`.

    What is written while something is done for requests has their ids.
    """

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_ids(_requests.get()),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace").decode()


def _ids(requests: Sequence[str]) -> dict[str, Any]:
    return {"request_id": requests[0]} if len(requests) == 1 else {"request_ids": requests} if requests else {}


@contextmanager
def about(*requests: str) -> Iterator[None]:
    """Lines that are written inside a block by this thread or task have the ids of these requests."""
    token = _requests.set(requests)
    try:
        yield
    finally:
        _requests.reset(token)


@contextmanager
def logging_to(stream: TextIO) -> Iterator[None]:
    """Write the log of serving, of uvicorn and of all others, and warnings, to a stream inside a block."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines())
    root, loggers = logging.getLogger(), [logging.getLogger(name) for name in NAMES]
    before = [(each, each.level, each.propagate, each.handlers) for each in loggers]
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        warnings.filterwarnings("always", category=UserWarning)  # each request has its own, also where they are alike
        root.addHandler(handler)
        for each in loggers:
            each.handlers = [handler]
            each.propagate = False
        for name in NAMES[:2]:
            logging.getLogger(name).setLevel(logging.INFO)
        try:
            yield
        finally:
            root.removeHandler(handler)
            for each, level, propagate, handlers in before:
                each.handlers = handlers
                each.setLevel(level)
                each.propagate = propagate


def _warn(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    log.warning("warning", extra={"facts": {"kind": category.__name__, "message": str(message)}})
