"""Answers as JSON, whatever is in them."""

from __future__ import annotations

import json
import math
from typing import Any

from starlette.responses import JSONResponse

from lightadapt.serving.failures import body_of


def encode(content: Any) -> bytes:
    r"""JSON in UTF-8; half characters are written as escapes, and numbers that JSON does not know as null.

    >>> encode({"text": "é", "score": float("nan")})
    b'{"text":"\xc3\xa9","score":null}'
    """
    try:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    except ValueError:
        text = json.dumps(_finite(content), ensure_ascii=False, separators=(",", ":"), default=_plain)
    return text.encode("utf-8", "backslashreplace")


def _plain(value: Any) -> Any:
    """A number of numpy or torch as one of Python."""
    return value.item() if hasattr(value, "item") else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Answer(JSONResponse):
    """An answer in JSON."""

    def render(self, content: Any) -> bytes:
        return encode(content)


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Answer:
    """The answer to a request that failed."""
    return Answer(body_of(status, message), status, headers)
