"""`POST /feedback/{name}`: corrections, kept as records that `fit` reads."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from lightadapt.adaptation.placing import locked
from lightadapt.data import Records
from lightadapt.errors import DataError, LightAdaptError
from lightadapt.serving.asking import as_failure
from lightadapt.serving.catalogue import Catalogue
from lightadapt.serving.failures import RequestError
from lightadapt.serving.gate import trace_of
from lightadapt.serving.responses import Answer
from lightadapt.tasks import Task

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a file can have no more bytes."""


class Feedback(BaseModel):
    """An input, what was predicted for it, and what is right."""

    model_config = ConfigDict(extra="forbid")

    input: Any = Field(description="A text or a record, as in inputs of /predict.")
    correction: Any = Field(description="What is right: a label, a list of entities, …; or the fields of the answer.")
    prediction: Any = Field(None, description="What was predicted; kept to be looked at.")


def add_routes(app: FastAPI, catalogue: Catalogue, folder: Path) -> None:
    """Add the routes of this file.

    Args:
        folder: where the files are kept, one for each adaptation.
    """
    writing = asyncio.Lock()

    async def take(request: Request, name: str, given: Annotated[Feedback, Body()]) -> Answer:
        served = catalogue.named(name)
        trace_of(request.scope).adapter = name
        try:
            record = corrected(served.task, given.input, given.correction)
        except LightAdaptError as error:
            raise as_failure(error) from error
        line = {**record, "prediction": given.prediction, "time": datetime.now(timezone.utc).isoformat()}
        async with writing:
            await asyncio.to_thread(_append, folder / f"{served.name}.jsonl", line)
        return Answer({"kept": True}, 201)

    app.add_api_route("/feedback/{name}", take, methods=["POST"], status_code=201, summary="Correct a prediction")


def corrected(task: Task, given: Any, correction: Any) -> dict[str, Any]:
    """The record to learn from: the input with what is right in the task's field for it.

    Raises:
        DataError: `fit` could not learn from it, or it has a label that the task does not know.
    """
    record = task.as_record(given)
    if not isinstance(record, dict):
        raise DataError("input is neither a text nor a record. Give an object with the fields of a record.")
    answers = task.answer_fields
    if isinstance(correction, dict) and correction and correction.keys() <= set(answers):
        right = dict(correction)
    elif isinstance(record.get("messages"), list):  # anything else in its place is refused below
        right = {"messages": [*record["messages"], {"role": "assistant", "content": correction}]}
    else:
        right = {_answer_field(task, record): correction}
    record = {**{name: value for name, value in record.items() if name not in answers}, **right}
    records = Records([record])
    task.check_answers(task.parse(records), records)
    return record


def _answer_field(task: Task, record: dict[str, Any]) -> str:
    """Where the answer to a record belongs; that of entities is another one for a record that has tokens."""
    if "tags" in task.answer_fields and "tokens" not in record:
        return "entities"
    return task.answer_fields[0]


def _append(file: Path, line: dict[str, Any]) -> None:
    """Add a line to a file, or leave the file as it is.

    Raises:
        RequestError: 507, there is no room; 503, it cannot be written.
    """
    text = json.dumps(line, ensure_ascii=False) + "\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with locked(file.parent, shared=False):  # else another server's line could be cut off with ours
            held = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
            try:
                _write_whole(held, text.encode("utf-8", "backslashreplace"))
            finally:
                os.close(held)
    except OSError as error:
        status, advice = (507, "Make room there") if error.errno in FULL else (503, "See to its folder")
        raise RequestError(
            status, f"The correction could not be kept ({error.strerror}). {advice}, and send it again."
        ) from error


def _write_whole(held: int, line: bytes) -> None:
    """Write bytes to the end of an open file, all or none of them."""
    before, written = os.fstat(held).st_size, 0
    try:
        while written < len(line):  # where room ends, some bytes are taken before the error comes
            written += os.write(held, line[written:])
    except OSError:
        os.ftruncate(held, before)
        raise
