"""The application: its routes, and what becomes of all that goes wrong."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

import lightadapt
from lightadapt.errors import listed
from lightadapt.serving import feedback, managing, openai, predicting
from lightadapt.serving.catalogue import Catalogue
from lightadapt.serving.failures import RequestError
from lightadapt.serving.gate import Gate, trace_of
from lightadapt.serving.metrics import Metrics
from lightadapt.serving.responses import Answer, refusal
from lightadapt.serving.settings import Settings


def make_app(catalogue: Catalogue, settings: Settings, metrics: Metrics) -> Gate:
    """The application that serves what the catalogue holds.

    There is no page for its OpenAPI description, which would be loaded from elsewhere: `/openapi.json` is the
    description itself.
    """
    app = FastAPI(
        title="lightadapt", version=lightadapt.__version__, docs_url=None, redoc_url=None, strict_content_type=True
    )
    app.add_exception_handler(RequestError, _on_failure)
    app.add_exception_handler(RequestValidationError, _on_malformed)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_error)
    _add_state(app, catalogue, metrics)
    predicting.add_routes(app, catalogue, settings)
    openai.add_routes(app, catalogue, settings)
    if settings.adapters is not None:
        managing.add_routes(app, catalogue, settings.adapters)
    if settings.feedback is not None:
        feedback.add_routes(app, catalogue, settings.feedback)
    app.router.redirect_slashes = False
    return Gate(_Routed(app), settings, metrics)


class _Routed:
    """The application; the trace of each request is told which route it took."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            route = scope.get("route")
            if route is not None and "lightadapt" in scope:
                trace_of(scope).route = route.path


def _add_state(app: FastAPI, catalogue: Catalogue, metrics: Metrics) -> None:
    """What tells of the server itself: its page, whether it is well, and what it has counted."""
    page = files("lightadapt.serving").joinpath("page.html").read_text(encoding="utf-8")

    async def show() -> Response:
        # What the page holds is all that it may load or ask.
        allowed = "style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"
        policy = f"default-src 'none'; {allowed}; frame-ancestors 'none'"
        return HTMLResponse(page, headers={"Content-Security-Policy": policy})

    async def health() -> Answer:
        return Answer({"status": "ok"}) if catalogue.is_alive else refusal(503, "An engine has ended. Start again.")

    async def ready() -> Answer:
        if not catalogue.is_alive:
            return refusal(503, "No engine computes.")
        return Answer({"status": "ready", "adapters": catalogue.names, "waiting": catalogue.waiting})

    async def count() -> Response:
        metrics.waiting.set(catalogue.waiting)
        for base, number in catalogue.loaded.items():
            metrics.loaded.labels(base).set(number)
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    app.add_api_route("/", show, methods=["GET"], include_in_schema=False)
    app.add_api_route("/health", health, methods=["GET"], summary="Whether the process is well")
    app.add_api_route("/ready", ready, methods=["GET"], summary="Whether it takes requests")
    app.add_api_route("/metrics", count, methods=["GET"], summary="Counts, for Prometheus")


async def _on_failure(request: Request, error: Any) -> Response:
    return refusal(error.status, str(error), error.headers)


async def _on_malformed(request: Request, error: Any) -> Response:
    """A body that is no JSON, or has fields of the wrong kind: what is wrong, and where."""
    reasons = []
    for each in error.errors()[:3]:
        place = ".".join(str(part) for part in each["loc"] if part != "body")
        reason = str(each.get("ctx", {}).get("error", "")) if each["type"] == "json_invalid" else ""
        reasons.append(f"{'the body' if not place or reason else place[:80]}: {each['msg']}{reason and f' ({reason})'}")
    return refusal(422, f"{'. '.join(reasons)}.")


async def _on_http(request: Request, error: Any) -> Response:
    if error.status_code == 404:
        paths = sorted({route.path for route in request.app.routes if getattr(route, "path", "/") != "/"})
        return refusal(404, f"There is nothing at this address. There are: {listed(paths, 20)}.")
    reason = _why_unread(error.__cause__) if error.status_code == 400 else ""
    return refusal(error.status_code, reason or f"{error.detail}.", dict(error.headers or {}))


def _why_unread(error: BaseException | None) -> str:
    """What is wrong with a body that FastAPI could not read, and only says so; empty where it is not known."""
    if isinstance(error, UnicodeDecodeError):
        return f"the body is not UTF-8 at byte {error.start} ({error.reason}). Send JSON in UTF-8."
    if isinstance(error, RecursionError):
        return "the body holds lists or objects too deep in one another. Send inputs as they are documented."
    return f"the body cannot be read: {error}." if isinstance(error, ValueError) else ""


async def _on_error(request: Request, error: Any) -> Response:
    return refusal(500, f"The server failed. Its log says why, under the id {trace_of(request.scope).id}.")
