"""The pieces of a text from the thread that generates it to the one that sends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Any

from lightadapt.serving.asking import left_of, too_late
from lightadapt.serving.queue import Job
from lightadapt.serving.settings import Settings
from lightadapt.serving.writing import Written


def pieces_of(job: Job, settings: Settings) -> AsyncIterator[str | Written]:
    """The pieces of the text of a job that is not in the queue yet, and the whole at the end.

    Raises:
        LightAdaptError: while they are read: the record cannot be used, or it took too long.
    """
    loop, come = asyncio.get_running_loop(), asyncio.Queue[Any]()

    def tell(piece: Any) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(come.put_nowait, piece)

    job.tell = tell
    job.key = id(job)
    job.answer.add_done_callback(tell)
    return _told(job, come, settings)


async def _told(job: Job, come: asyncio.Queue[Any], settings: Settings) -> AsyncIterator[str | Written]:
    try:
        while True:
            try:
                piece = await asyncio.wait_for(come.get(), left_of(job, settings))
            except asyncio.TimeoutError:
                raise too_late(settings) from None
            if isinstance(piece, Future):
                yield piece.result()[0]
                return
            yield piece
    finally:
        job.give_up()
