"""Adaptations of one base to be served: each has labels of its own, and answers like no other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

import lightadapt as la
from lightadapt import sample

TEXTS = [record["text"] for record in sample.records("test")][:24]
LABELS = 10


def make_adapters(model: str, folder: Path, names: Sequence[str], *, merged: Sequence[str] = ()) -> dict[str, Any]:
    """Save a LoRA for each name, and for some the merged model; what each answers to each text."""
    adapted = la.adapt(model, "classification", labels=["no", "yes"], device="cpu")
    answers = {}
    for number, name in enumerate(names):
        adapted.add(name, labels=[f"{name}-{label}" for label in range(LABELS)])
        adapted.use(name)
        _stir(adapted, number)
        adapted.save(folder / name)
        scores = adapted.predict(TEXTS, scores=True)
        answers[name] = dict(zip(TEXTS, scores, strict=True))
        if name in merged:
            adapted.merge().save_pretrained(folder / f"{name}-merged")
            adapted.tokenizer.save_pretrained(folder / f"{name}-merged")
        adapted.use("default").remove(name)
    return answers


def repeated(folder: Path, names: Sequence[str], count: int) -> Iterator[str]:
    """The names of so many folders, of which those beyond the given ones hold hard links to their files."""
    for number in range(count):
        name = f"more-{number}"
        (folder / name).mkdir()
        for file in (folder / names[number % len(names)]).iterdir():
            os.link(file, folder / name / file.name)
        yield name


def zipf(count: int) -> list[float]:
    """How often each of so many is asked: the n-th as often as 1 / n."""
    return [1 / (number + 1) for number in range(count)]


def _stir(adapted: Any, seed: int) -> None:
    """Give what is trained values that no other adaptation has, large ones to the head."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in sorted(adapted.runner.adaptation.all_trained):
            parameter = adapted.model.get_parameter(name)
            size = 2.0 if name.startswith("classifier") else 0.02
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
