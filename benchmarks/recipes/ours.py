"""lightadapt with its defaults, as one run whose facts are those of the guides."""

from __future__ import annotations

import time
from typing import Any

import torch
import transformers
from measuring import peak_since, start_peak

import lightadapt as la
from lightadapt.data.spans import Span, write_tags
from recipes.guides import count_tokens
from recipes.recipe import Work, warm_up
from recipes.watch import Watch


def predict(adapted: la.Adapted, work: Work) -> list[Any]:
    """The predictions for the test records, in the form that recipes.py gives them."""
    test = work["test"]
    if work["task"] == "ner":
        found = adapted.predict([record["tokens"] for record in test])
        spans = [[Span(each["start"], each["end"], each["label"]) for each in record] for record in found]
        return [write_tags(mine, len(record["tokens"])) for mine, record in zip(spans, test, strict=True)]
    if work["task"] == "classification":
        return adapted.predict([record["text"] for record in test])
    if work["task"] == "qa":
        return [found["text"] for found in adapted.predict([(each["question"], each["context"]) for each in test])]
    return []


def run(work: Work) -> dict[str, Any]:
    """The facts of one run, after a short one that is not counted."""
    train(warm_up(work))
    return train(work)


def train(work: Work) -> dict[str, Any]:
    """The facts of one run of `adapt` and `fit`."""
    before = start_peak()
    start = time.perf_counter()
    labels = work["labels"] or None
    options = {"labels": labels, "layers": work.get("layers"), "device": work["device"], "seed": work["seed"]}
    if work["task"] == "generation":  # the other side has float32
        options["dtype"] = "float32"
    adapted = la.adapt(work["model"], work["task"], "lora", **options)
    watch = Watch(work["points"])
    watch.predict = lambda: predict(adapted, work)
    history = adapted.fit(
        work["train"], epochs=work["epochs"], callbacks=[watch], **{"args": {"disable_tqdm": True}, **work["fit"]}
    )
    peak = peak_since(before)
    return {
        **watch.facts(start),
        "tokens": count_tokens(work) * work["epochs"],
        "padding": history.padding,
        "peak": peak,
        "steps": history.steps,
        "trained": sum(each.numel() for each in adapted.model.parameters() if each.requires_grad),
        "losses": history.losses,
        "versions": {module.__name__: module.__version__ for module in (torch, transformers, la)},
    }
