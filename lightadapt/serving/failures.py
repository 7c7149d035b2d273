"""What a request is refused for: a status, and an answer of the form that clients of OpenAI read, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightadapt.errors import LightAdaptError

KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
"""What OpenAI calls errors of a status; others below 500 are invalid requests, too."""
LEFT = 499
"""The status in logs and metrics of a request whose client has left; nobody reads its answer."""


class RequestError(LightAdaptError):
    """A request that is not answered with predictions."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


def body_of(status: int, message: str) -> dict[str, Any]:
    """The answer to a request that failed.

    >>> body_of(404, "There is no adapter 'x'.")["error"]["type"]
    'not_found_error'
    """
    kind = KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}
