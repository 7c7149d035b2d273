"""`GET /v1/models` and `POST /predict/{name}`: what is served, and predictions as `Adapted.predict` gives them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from lightadapt.errors import LightAdaptError
from lightadapt.serving.asking import answered, as_failure
from lightadapt.serving.catalogue import Catalogue
from lightadapt.serving.failures import RequestError
from lightadapt.serving.gate import timing_of, trace_of
from lightadapt.serving.options import check_options
from lightadapt.serving.queue import Ask, Job
from lightadapt.serving.responses import Answer
from lightadapt.serving.served import Served
from lightadapt.serving.settings import Settings


class Inputs(BaseModel):
    """What is to be predicted."""

    model_config = ConfigDict(extra="forbid")

    inputs: list[Any] = Field(
        description="Texts, pairs, lists of tokens or messages, or records, as predict takes them."
    )
    scores: bool = Field(False, strict=True, description="Give the probability of each label.")
    options: dict[str, Any] | None = Field(None, description="Of generation, such as max_new_tokens.")
    threshold: float | None = Field(None, description="Of task multilabel, another probability.")
    unknown: bool = Field(False, strict=True, description="Give null for a text of none of the classes.")


def add_routes(app: FastAPI, catalogue: Catalogue, settings: Settings) -> None:
    """Add the routes of this file."""

    async def models() -> Answer:
        return Answer({"object": "list", "data": [card_of(served) for served in catalogue]})

    async def predict(request: Request, name: str, asked: Annotated[Inputs, Body()]) -> Answer:
        served = catalogue.named(name)
        trace_of(request.scope).adapter = name
        try:
            options = None if asked.options is None else check_options(asked.options, settings.max_new_tokens)
        except LightAdaptError as error:
            raise as_failure(error) from error
        if asked.unknown and settings.max_loaded is not None:
            raise RequestError(
                422,
                "unknown: this server loads adapters when they are asked for (max_loaded), without what tells texts of "
                "their classes from others. Leave it out, or start a server without max_loaded.",
            )
        if not asked.inputs:
            return Answer({"predictions": []})
        generates = served.generates and asked.threshold is None and not asked.unknown
        ask = Ask(
            scores=asked.scores,
            options=options,
            threshold=asked.threshold,
            unknown=asked.unknown,
            generates=generates,
        )
        job = Job(name, asked.inputs, ask)
        predictions = await answered(request, served, job, settings)
        timing = timing_of(job)
        told = f"queue;dur={timing['queue_ms']}, compute;dur={timing['compute_ms']}"
        return Answer({"predictions": predictions}, headers={"Server-Timing": told})

    app.add_api_route("/v1/models", models, methods=["GET"], summary="What is served")
    app.add_api_route("/predict/{name}", predict, methods=["POST"], summary="Predict")


def card_of(served: Served) -> dict[str, Any]:
    """What is told of an adaptation; the first four fields are those of OpenAI's clients."""
    return {
        "id": served.name,
        "object": "model",
        "created": served.created,
        "owned_by": "lightadapt",
        "task": served.task.name,
        "fields": [name for name in served.task.fields if name not in served.task.answer_fields],
        "labels": served.labels,
        "generates": served.generates,
        "method": served.method,
        "base": served.base,
    }
