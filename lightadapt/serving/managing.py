"""`POST /adapters` and `DELETE /adapters/{name}`: what is served changes while the server runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from fastapi import Body, FastAPI
from pydantic import BaseModel, ConfigDict, Field

from lightadapt.errors import LightAdaptError, shown
from lightadapt.serving.asking import as_failure
from lightadapt.serving.catalogue import Catalogue
from lightadapt.serving.failures import RequestError
from lightadapt.serving.logs import log
from lightadapt.serving.predicting import card_of
from lightadapt.serving.responses import Answer


class NewAdapter(BaseModel):
    """A saved adaptation to be served."""

    model_config = ConfigDict(extra="forbid")

    name: str
    path: str = Field(description="Its folder, within the folder that the server was given for this.")


def add_routes(app: FastAPI, catalogue: Catalogue, allowed: Path) -> None:
    """Add the routes of this file.

    Args:
        allowed: the folder that adaptations may lie in.
    """
    changing = asyncio.Lock()

    async def add(new: Annotated[NewAdapter, Body()]) -> Answer:
        folder = folder_within(allowed, new.path)
        async with changing:
            try:
                served = await asyncio.to_thread(catalogue.add, new.name, folder)
            except LightAdaptError as error:
                raise as_failure(error) from error
        log.info("adapter added", extra={"facts": {"adapter": new.name, "folder": folder}})
        return Answer(card_of(served), 201)

    async def remove(name: str) -> Answer:
        async with changing:
            await asyncio.to_thread(catalogue.remove, name)
        log.info("adapter removed", extra={"facts": {"adapter": name}})
        return Answer({"id": name, "deleted": True})

    app.add_api_route("/adapters", add, methods=["POST"], status_code=201, summary="Serve another adaptation")
    app.add_api_route("/adapters/{name}", remove, methods=["DELETE"], summary="Serve one no longer")


def folder_within(allowed: Path, path: str) -> Path:
    """The folder of that path, which has to lie within another one, also when links are followed.

    Raises:
        RequestError: 403, it lies elsewhere; 404, there is none.
    """
    root = allowed.resolve()
    try:
        found = (root / path).resolve()
        inside = found.is_relative_to(root) and found != root
        there = inside and found.is_dir()
    except (OSError, ValueError):  # too long, or no name of a file at all
        inside, there = True, False
    if not inside:
        raise RequestError(403, f"path={shown(path)} lies outside the folder from which adapters may be added.")
    if not there:
        raise RequestError(404, f"path={shown(path)}: there is no such folder where adapters may be added from.")
    return found
