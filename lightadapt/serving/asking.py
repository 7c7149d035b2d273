"""From a request to its job and back: into the queue, and the answer, unless time or the client is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

from starlette.requests import Request

from lightadapt.errors import LightAdaptError, NoAdaptationError
from lightadapt.serving.failures import LEFT, RequestError
from lightadapt.serving.gate import trace_of
from lightadapt.serving.queue import Job
from lightadapt.serving.served import Served
from lightadapt.serving.settings import Settings

Waited = TypeVar("Waited")


async def answered(request: Request, served: Served, job: Job, settings: Settings) -> list[Any]:
    """The answers to a job; when nobody waits for them any more, it is given up.

    Raises:
        RequestError: 413 for too many records, 422 with the reason for what cannot be used, 429 when there is no room,
            504 when it took too long.
    """
    enter(request, served, job, settings)
    waiting: asyncio.Future[Any] = asyncio.wrap_future(job.answer)
    leaving: asyncio.Future[Any] = asyncio.create_task(_left(request))
    try:
        await asyncio.wait({waiting, leaving}, timeout=left_of(job, settings), return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return list(waiting.result())
        raise RequestError(LEFT, "The client has left.") if leaving.done() else too_late(settings)
    except LightAdaptError as error:
        raise as_failure(error) from error
    finally:
        leaving.cancel()
        waiting.cancel()  # an error that comes later is nobody's
        job.give_up()


def enter(request: Request, served: Served, job: Job, settings: Settings) -> None:
    """Put a job into the queue of its adaptation.

    Raises:
        RequestError: 413 for too many records, 429 when there is no room.
    """
    if len(job.inputs) > settings.request_records:
        raise RequestError(
            413,
            f"inputs has {len(job.inputs):,} records, and {settings.request_records:,} is the most. Send them in "
            "several requests.",
        )
    trace = trace_of(request.scope)
    trace.job, job.request_id = job, trace.id
    served.engine.put(job)


def left_of(job: Job, settings: Settings) -> float:
    """The seconds that are left to answer a job."""
    return max(0.0, job.arrived + settings.timeout - time.monotonic())


def too_late(settings: Settings) -> RequestError:
    """What is said when it took too long."""
    return RequestError(
        504, f"There was no answer within {settings.timeout:g} s. Send fewer records, or ask again later."
    )


def as_failure(error: LightAdaptError) -> RequestError:
    """What lightadapt refuses, as a status with its reason; `Record 2` is the third input of the request."""
    if isinstance(error, RequestError):
        return error
    return RequestError(404 if isinstance(error, NoAdaptationError) else 422, str(error))


async def unless_left(request: Request, coming: Awaitable[Waited]) -> Waited:
    """What is waited for, which is given up when the client leaves.

    Raises:
        RequestError: 499, it has left.
    """
    waiting = asyncio.ensure_future(coming)
    leaving: asyncio.Future[Any] = asyncio.create_task(_left(request))
    try:
        await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise RequestError(LEFT, "The client has left.")
        return waiting.result()
    finally:
        leaving.cancel()
        waiting.cancel()


async def _left(request: Request) -> None:
    """Return when the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
