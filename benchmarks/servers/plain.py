"""A server as one writes it first: FastAPI, and a pipeline of transformers for each task.

python benchmarks/servers/plain.py PORT intents=FOLDER entities=FOLDER   # merged models
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
KINDS = {"intents": ("text-classification", {}), "entities": ("ner", {"aggregation_strategy": "simple"})}


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
    found = pipelines[name](asked.inputs)
    if name == "intents":
        return {"predictions": [each["label"] for each in found]}
    return {"predictions": [[{**part, "score": float(part["score"])} for part in parts] for parts in found]}


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    for text in sys.argv[2:]:
        name, _, folder = text.partition("=")
        kind, options = KINDS[name]
        pipelines[name] = pipeline(kind, model=folder, device="cpu", **options)
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
