"""Logs as lines of JSON, for machines to read; a request's line holds nothing of its inputs."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, TextIO

NAMES = ("lightadapt.serving", "uvicorn.error")
log = logging.getLogger(NAMES[0])


class Lines(logging.Formatter):
    """A record of the log as one line of JSON; what it says beside its message is in `extra={"facts": {…}}`."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace").decode()


@contextmanager
def logging_to(stream: TextIO) -> Iterator[None]:
    """Write the log of serving and uvicorn, and warnings, to a stream inside a block."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Lines())
    loggers = [logging.getLogger(name) for name in NAMES]
    before = [(each.level, each.propagate) for each in loggers]
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        for each in loggers:
            each.addHandler(handler)
            each.setLevel(logging.INFO)
            each.propagate = False
        try:
            yield
        finally:
            for each, (level, propagate) in zip(loggers, before, strict=True):
                each.removeHandler(handler)
                each.setLevel(level)
                each.propagate = propagate


def _warn(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    log.warning("warning", extra={"facts": {"kind": category.__name__, "message": str(message)}})
