"""A server as one writes it first: FastAPI, and a pipeline of transformers for each adapter.

python benchmarks/servers/plain.py PORT name=FOLDER …   # merged models, which classify texts
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

app = FastAPI()
pipelines: dict[str, Any] = {}


class Inputs(BaseModel):
    """The body of a request."""

    inputs: list[str]


@app.get("/ready")
def ready() -> dict[str, bool]:
    """Whether it answers."""
    return {"ready": True}


@app.post("/predict/{name}")
def predict(name: str, asked: Inputs) -> dict[str, Any]:  # no `async`: FastAPI runs it in a thread of its pool
    """The predictions for a list of texts."""
    return {"predictions": [each["label"] for each in pipelines[name](asked.inputs)]}


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    for text in sys.argv[2:]:
        name, _, folder = text.partition("=")
        pipelines[name] = pipeline("text-classification", model=folder, device="cpu")
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
