"""What every request passes on its way in and out: its id, its key, its size, its line in the log and its count."""

from __future__ import annotations

import hmac
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException

from lightadapt.serving.failures import RequestError, body_of
from lightadapt.serving.logs import about, log
from lightadapt.serving.metrics import Metrics
from lightadapt.serving.queue import Job
from lightadapt.serving.responses import encode
from lightadapt.serving.settings import KEYS, Settings

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/", "/health", "/ready")
"""The paths that need no key."""
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass
class Trace:
    """What is known of a request, for the log and the counts.

    Attributes:
        id: told in the answer as `X-Request-ID`; the client's own, where it gave one.
        route: the path with its variables, so that there are few of them.
        adapter: who is to answer, once it is known that there is such a one.
    """

    id: str
    arrived: float = field(default_factory=time.monotonic)
    route: str = "other"
    adapter: str = ""
    status: int = 0
    job: Job | None = None


def trace_of(scope: Scope) -> Trace:
    """The trace of the request that a scope is of."""
    return scope["lightadapt"]  # type: ignore[no-any-return]


class Gate:
    """The application, with what every request passes around it."""

    def __init__(self, app: App, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._keys = [key.encode() for key in settings.keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what is not HTTP, such as the start of the server, is passed on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        trace = scope["lightadapt"] = Trace(_id_of(headers))

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                trace.status = message["status"]
                message = {**message, "headers": [*message["headers"], (b"x-request-id", trace.id.encode())]}
            await send(message)

        failed: Exception | None = None
        try:
            self._check(scope, headers)
            with about(trace.id):
                await self._app(scope, _limited(receive, self._settings.request_bytes), told)
        except RequestError as error:
            await _refuse(error, told)
        except Exception as error:  # the answer, a 500 without its reason, is sent by then
            failed = error
        self._note(scope, trace, failed)

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Raise for a request that is not even looked at.

        Raises:
            RequestError: 401 without a key, 403 under another name of this machine, 413 for too large a body.
        """
        if self._keys:
            if scope["path"] not in OPEN and not self._has_key(headers):
                raise RequestError(
                    401,
                    f"Give one of the keys of this server ({KEYS}): Authorization: Bearer KEY.",
                    {"WWW-Authenticate": "Bearer"},
                )
        elif self._settings.is_local:  # a page of anybody could have its name point here, and ask from a browser
            host = headers.get(b"host", b"").decode("latin-1")
            name = re.sub(r":\d+$", "", host).lower()
            if name not in LOCAL_NAMES and name != self._settings.host.lower():
                raise RequestError(
                    403,
                    f"Without keys this server answers under the names {', '.join(LOCAL_NAMES)} alone. Set {KEYS}, or "
                    "have the proxy in front of it pass one of these names as Host.",
                )
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._settings.request_bytes:
            raise _too_large(self._settings.request_bytes)

    def _has_key(self, headers: dict[bytes, bytes]) -> bool:
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        given = given.strip() if kind.lower() == b"bearer" else headers.get(b"x-api-key", b"")
        # Each key is compared, and in constant time, so that the time tells nothing of any.
        return sum([hmac.compare_digest(given, key) for key in self._keys]) > 0

    def _note(self, scope: Scope, trace: Trace, failed: Exception | None) -> None:
        seconds = time.monotonic() - trace.arrived
        self._metrics.requests.labels(trace.route, trace.adapter, str(trace.status)).inc()
        if trace.adapter:
            self._metrics.latency.labels(trace.adapter).observe(seconds)
        facts = {
            "request_id": trace.id,
            "method": scope["method"],
            "route": trace.route,
            "status": trace.status,
            "ms": round(seconds * 1_000, 2),
        }
        if trace.adapter:
            facts["adapter"] = trace.adapter
        if trace.job is not None and trace.job.started:
            facts |= {"records": len(trace.job.inputs), **timing_of(trace.job), "batch": trace.job.together}
        level = logging.INFO if failed is None else logging.ERROR
        if trace.route in ("/health", "/ready", "/metrics") and trace.status == 200:  # asked every few seconds
            level = logging.DEBUG
        log.log(level, "request", extra={"facts": facts}, exc_info=failed)


def timing_of(job: Job) -> dict[str, float]:
    """How long a request waited, and was computed, in milliseconds."""
    queued, computed = job.started - job.arrived, max(0.0, job.ended - job.started)
    return {"queue_ms": round(queued * 1_000, 2), "compute_ms": round(computed * 1_000, 2)}


def _id_of(headers: dict[bytes, bytes]) -> str:
    """The id that the client gave, where it is a plain one, else a fresh one."""
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given):
        return given
    return (
        f"{random.getrandbits(128):032x}"  # no secret: it needs no call of the system, which lets go of Python's lock
    )


def _limited(receive: Receive, most: int) -> Receive:
    """The messages of a request whose body may have so many bytes; without a length it is seen as they come.

    Raises:
        HTTPException: 413, there are more; FastAPI takes any other error of reading for malformed JSON.
    """
    count = 0

    async def limited() -> Message:
        nonlocal count
        message = await receive()
        count += len(message.get("body", b""))
        if count > most:
            raise HTTPException(413, str(_too_large(most)).rstrip("."))
        return message

    return limited


def _too_large(most: int) -> RequestError:
    return RequestError(413, f"The body has more than {most:,} bytes. Send the records in several requests.")


async def _refuse(error: RequestError, send: Send) -> None:
    """Answer with a failure."""
    body = encode(body_of(error.status, str(error)))
    headers = {"content-type": "application/json", "content-length": str(len(body)), **error.headers}
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
