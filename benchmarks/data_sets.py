"""Real data and models that several benchmarks learn from: which files of a folder, and how much of them."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import find_encoder

from lightadapt.tasks import Task

ENCODER = "MiniLM"
DECODERS = ("tinystories-656k", "stories260k-llama")
PAIR = {"prompt": "mr", "completion": "refs"}
"""The columns of E2E NLG."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What is learned and tested on one data set."""

    title: str
    task: Task
    train: str
    """File, relative to the data folder."""
    test: str
    records: int
    """Records of the training file that are used; the first after shuffling."""
    tests: int
    """Of the other file, likewise."""
    epochs: int
    balanced: bool = False
    """Take as many training records of each class, as far as there are."""


def choose(records: list[dict[str, Any]], count: int, *, balanced: bool) -> list[dict[str, Any]]:
    """The first records after a shuffle that is always the same; balanced: classes take turns as long as they last."""
    shuffled = random.Random(0).sample(records, len(records))
    if balanced:
        seen: Counter[str] = Counter()
        turns = []
        for record in shuffled:
            seen[record["label"]] += 1
            turns.append(seen[record["label"]])
        shuffled = [shuffled[place] for place in sorted(range(len(shuffled)), key=turns.__getitem__)]
    return shuffled[:count]


def find_model(name: str, folder: Path) -> str:
    """Where the model lies: the encoder in `lightadapt[demo]`, a decoder in the data folder."""
    return find_encoder() if name == ENCODER else str(folder / "models" / name)
