"""`POST /v1/chat/completions` and `/v1/completions`, as clients of OpenAI speak them; `model` is an adapter."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, ClassVar
from uuid import uuid4

from fastapi import Body, FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from lightadapt.errors import LightAdaptError, shown
from lightadapt.serving.asking import answered, as_failure, enter, unless_left
from lightadapt.serving.catalogue import Catalogue
from lightadapt.serving.failures import RequestError, body_of
from lightadapt.serving.gate import trace_of
from lightadapt.serving.options import check_options
from lightadapt.serving.queue import Ask, Job
from lightadapt.serving.responses import Answer, encode
from lightadapt.serving.served import Served
from lightadapt.serving.settings import Settings
from lightadapt.serving.streaming import pieces_of
from lightadapt.serving.writing import Written
from lightadapt.tasks.decoding.bounds import BOUNDS
from lightadapt.tasks.generation import Generation

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "logprobs": (False, 0),
    "top_logprobs": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "suffix": ("",),
    "tools": ([],),
    "tool_choice": ("none",),
    "response_format": ({"type": "text"},),
    "parallel_tool_calls": (True, False),
    "store": (False,),
}
"""Parameters that are not served, and the values of each that change nothing; null changes nothing either."""
IGNORED = ("user", "metadata", "safety_identifier", "service_tier", "prompt_cache_key")
"""Parameters that say nothing of the text."""


class Wanted(BaseModel):
    """What both kinds of requests have."""

    model_config = ConfigDict(extra="allow")
    kind: ClassVar[str]
    """What the answer says it is."""

    model: str = Field(description="The name of an adapter.")
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = Field(None, ge=0, le=2, description="0 or none: the likeliest tokens.")
    top_p: float | None = Field(None, gt=BOUNDS["top_p"].above, le=BOUNDS["top_p"].most)
    stop: str | list[str] | None = None
    seed: int | None = Field(None, ge=0, lt=2**32, description="The same seed gives the same text.")
    stream: bool | None = Field(None, strict=True)
    stream_options: dict[str, Any] | None = None

    def check_others(self) -> None:
        """Raise for a parameter that would change the text and is not served.

        Raises:
            RequestError: 400.
        """
        for name, value in (self.model_extra or {}).items():
            if value is None or name in IGNORED or value in NEUTRAL.get(name, ()):
                continue
            raise RequestError(400, f"{name[:40]}={shown(value)} is not served. Leave it out.")

    def options(self, task: Generation, most: int) -> dict[str, Any]:
        """The options of generation.

        Raises:
            RequestError: 400, one cannot be used.
        """
        count = self.max_completion_tokens if self.max_tokens is None else self.max_tokens
        found: dict[str, Any] = {"max_new_tokens": min(task.max_new_tokens, most) if count is None else count}
        if self.temperature == 0:
            found["do_sample"] = False  # also where the adaptation has a temperature of its own
        elif self.temperature is not None:
            found["temperature"] = self.temperature
        if self.top_p is not None and self.temperature != 0:
            found["top_p"] = self.top_p
        if self.stop:
            found["stop_strings"] = self.stop
        try:
            return check_options(found, most)
        except LightAdaptError as error:
            told = str(error).replace("max_new_tokens", "max_tokens").replace("stop_strings", "stop")
            raise RequestError(400, told) from error


class Chat(Wanted):
    """A conversation to be gone on with."""

    kind: ClassVar[str] = "chat.completion"
    messages: list[dict[str, Any]] = Field(min_length=1)

    def records(self, served: Served) -> list[Any]:
        """The record that the conversation is.

        Raises:
            RequestError: 400, the task knows no conversations.
        """
        if "messages" not in served.task.fields:
            raise RequestError(
                400,
                f"Adapter {served.name!r} knows no conversations; its task is {served.task.name!r}. Ask "
                "/v1/completions.",
            )
        return [{"messages": self.messages}]


class Completion(Wanted):
    """Texts to be gone on from."""

    kind: ClassVar[str] = "text_completion"
    prompt: str | list[str]

    def records(self, served: Served) -> list[Any]:
        """A record for each prompt.

        Raises:
            RequestError: 400, the task takes no prompts.
        """
        prompts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        if not prompts:
            raise RequestError(400, "prompt is []. Give a text, or a list of them.")
        task = served.task
        assert isinstance(task, Generation)
        return [{task.source_field: prompt} for prompt in prompts]


def add_routes(app: FastAPI, catalogue: Catalogue, settings: Settings) -> None:
    """Add the routes of this file."""

    async def respond(request: Request, wanted: Chat | Completion) -> Response:
        served = catalogue.named(wanted.model)
        trace_of(request.scope).adapter = served.name
        if not isinstance(served.task, Generation):
            raise RequestError(
                400,
                f"Adapter {served.name!r} does not generate text; its task is {served.task.name!r}. Ask "
                f"POST /predict/{served.name}.",
            )
        wanted.check_others()
        options, records = wanted.options(served.task, settings.max_new_tokens), wanted.records(served)
        job = Job(served.name, records, Ask(options=options, generates=True, written=True, seed=wanted.seed))
        if not wanted.stream:
            written = await answered(request, served, job, settings)
            return Answer(_whole(wanted, written))
        if len(records) > 1:
            raise RequestError(400, "stream=true takes one prompt. Send the others by themselves.")
        return await _streamed(request, served, job, wanted, settings)

    async def chat(request: Request, wanted: Annotated[Chat, Body()]) -> Response:
        return await respond(request, wanted)

    async def complete(request: Request, wanted: Annotated[Completion, Body()]) -> Response:
        return await respond(request, wanted)

    app.add_api_route("/v1/chat/completions", chat, methods=["POST"], summary="Go on with a conversation")
    app.add_api_route("/v1/completions", complete, methods=["POST"], summary="Go on from a text")


def _head(wanted: Wanted, kind: str) -> dict[str, Any]:
    prefix = "chatcmpl" if isinstance(wanted, Chat) else "cmpl"
    return {"id": f"{prefix}-{uuid4().hex}", "object": kind, "created": int(time.time()), "model": wanted.model}


def _whole(wanted: Wanted, written: Sequence[Written]) -> dict[str, Any]:
    """The answer with all of the texts."""

    def said(text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}} if isinstance(wanted, Chat) else {"text": text}

    choices = [
        {"index": index, **said(each.text), "logprobs": None, "finish_reason": each.finish}
        for index, each in enumerate(written)
    ]
    return {**_head(wanted, wanted.kind), "choices": choices, "usage": _usage(written)}


def _usage(written: Sequence[Written]) -> dict[str, int]:
    given, made = sum(each.prompt_tokens for each in written), sum(each.tokens for each in written)
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


async def _streamed(
    request: Request, served: Served, job: Job, wanted: Wanted, settings: Settings
) -> StreamingResponse:
    """The answer as server-sent events, one for each piece of the text.

    What is wrong with the request is answered with a status, as without streaming: the first event waits for the first
    piece.
    """
    pieces = pieces_of(job, settings)
    enter(request, served, job, settings)
    try:
        first = await unless_left(request, anext(pieces))
    except LightAdaptError as error:
        job.give_up()
        raise as_failure(error) from error
    return StreamingResponse(
        _events(wanted, job, first, pieces),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _events(
    wanted: Wanted, job: Job, first: str | Written, pieces: AsyncIterator[str | Written]
) -> AsyncIterator[bytes]:
    """The events of a streamed answer; the last but `[DONE]` says how it ended, or what went wrong."""
    chat = isinstance(wanted, Chat)
    head = _head(wanted, "chat.completion.chunk" if chat else wanted.kind)

    def event(said: dict[str, Any], finish: str | None = None) -> bytes:
        return _event({**head, "choices": [{"index": 0, **said, "logprobs": None, "finish_reason": finish}]})

    try:
        if chat:
            yield event({"delta": {"role": "assistant", "content": ""}})
        piece = first
        while isinstance(piece, str):
            yield event({"delta": {"content": piece}} if chat else {"text": piece})
            piece = await anext(pieces)
        yield event({"delta": {}} if chat else {"text": ""}, piece.finish)
        if (wanted.stream_options or {}).get("include_usage"):
            yield _event({**head, "choices": [], "usage": _usage([piece])})
    except LightAdaptError as error:
        failure = as_failure(error)
        yield _event(body_of(failure.status, str(failure)))
    finally:
        job.give_up()
    yield b"data: [DONE]\n\n"


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + encode(content) + b"\n\n"
