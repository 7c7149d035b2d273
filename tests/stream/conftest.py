"""A tiny classifier that has learned, with what it keeps of its training data."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

import lightadapt as la
from lightadapt import sample

INTENTS = ("refund", "track_order", "reset_password")


def few(split: str, each: int) -> list[dict]:
    """So many records of three intents."""
    found: dict[str, list[dict]] = defaultdict(list)
    for record in sample.records(split):
        if record["label"] in INTENTS and len(found[record["label"]]) < each:
            found[record["label"]].append(record)
    return [record for place in zip(*found.values(), strict=True) for record in place]


@pytest.fixture(scope="session")
def learned_folder(tiny, once) -> Path:
    def fill(folder: Path) -> None:
        adapted = la.adapt(tiny("bert"), "classification", labels=list(INTENTS))
        adapted.fit(few("train", 40), few("validation", 20), epochs=2, args={"disable_tqdm": True})
        adapted.save(folder / "saved")

    return once("stream-classifier", fill) / "saved"


@pytest.fixture
def learned(learned_folder) -> la.Adapted:
    return la.load(learned_folder)
