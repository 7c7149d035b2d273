"""The sample data set is balanced, exact in its offsets, held out between splits, and reproducible."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lightadapt import sample

ENTITY_TYPES = {"PERSON", "PRODUCT", "ORDER", "DATE", "AMOUNT", "PLACE"}


def surfaces(records: list[dict[str, Any]], label: str) -> set[str]:
    """The distinct surface forms of one entity type, letter case aside."""
    return {
        record["text"][entity["start"] : entity["end"]].lower()
        for record in records
        for entity in record["entities"]
        if entity["label"] == label
    }


def digest() -> str:
    """A fingerprint of all splits at seed 3."""
    everything = json.dumps([sample.records(split, seed=3) for split in sample.SPLITS])
    return hashlib.sha256(everything.encode()).hexdigest()


@pytest.mark.parametrize(("split", "size"), [("train", 1000), ("validation", 200), ("test", 300)])
def test_sizes_and_balance(split: str, size: int) -> None:
    counts = Counter(record["label"] for record in sample.records(split))
    assert set(counts) == set(sample.INTENTS)
    assert sum(counts.values()) == size
    assert len(set(counts.values())) == 1


@pytest.mark.parametrize("split", sample.SPLITS)
@pytest.mark.parametrize("seed", [0, 1])
def test_offsets_cut_whole_entities(split: str, seed: int) -> None:
    labels: Counter[str] = Counter()
    for record in sample.records(split, seed):
        assert list(record) == ["text", "label", "entities"]
        end_of_last = 0
        for entity in record["entities"]:
            assert end_of_last <= entity["start"] < entity["end"] <= len(record["text"])
            surface = record["text"][entity["start"] : entity["end"]]
            assert surface == surface.strip()
            assert not any(mark in surface for mark in "!?[]{}|@")
            before = record["text"][: entity["start"]]
            after = record["text"][entity["end"] :]
            assert not before[-1:].isalnum()
            assert not after[:1].isalnum()
            end_of_last = entity["end"]
            labels[entity["label"]] += 1
    assert set(labels) == ENTITY_TYPES


@pytest.mark.parametrize("split", sample.SPLITS)
def test_texts_are_clean(split: str) -> None:
    for record in sample.records(split):
        text = record["text"]
        assert text == " ".join(text.split())
        assert not any(doubled in text for doubled in ("..", ",,", "?.", ".?", " ,", " .", " ?", "!."))
        assert not any(mark in text for mark in "[]{}|@")


def test_known_entities_are_marked_exactly() -> None:
    record_texts = {
        (record["text"][entity["start"] : entity["end"]], entity["label"])
        for record in sample.records("train")
        for entity in record["entities"]
    }
    assert ("yesterday", "DATE") in record_texts
    assert ("Leeds", "PLACE") in record_texts
    assert ("desk lamp", "PRODUCT") in record_texts


def test_templates_are_not_shared_between_splits() -> None:
    owners = Counter(
        template for split in sample.SPLITS for templates in sample.TEMPLATES[split].values() for template in templates
    )
    assert set(owners.values()) == {1}
    assert min(len(templates) for templates in sample.TEMPLATES["train"].values()) >= 8
    assert min(len(templates) for templates in sample.TEMPLATES["test"].values()) >= 4


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_text_occurs_twice(seed: int) -> None:
    texts = [record["text"].lower() for split in sample.SPLITS for record in sample.records(split, seed)]
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize("label", ["PERSON", "PRODUCT", "PLACE"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_most_test_entities_are_new(label: str, seed: int) -> None:
    known = surfaces(sample.records("train", seed), label)
    asked = surfaces(sample.records("test", seed), label)
    assert len(asked - known) >= 0.8 * len(asked)


def test_seed_decides_the_records() -> None:
    assert sample.records("test", 1) == sample.records("test", 1)
    assert sample.records("test", 1) != sample.records("test", 2)


def test_another_process_draws_the_same() -> None:
    here = Path(__file__).parent
    code = "import test_sample; print(test_sample.digest())"
    for hash_seed in ("1", "2"):
        path = os.pathsep.join([str(here), str(here.parent)])
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert run.stdout.strip() == digest(), run.stderr


def test_write_is_idempotent(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "desk"
    paths = sample.write(folder)
    assert list(paths) == list(sample.SPLITS)
    assert sorted(path.name for path in folder.iterdir()) == ["test.jsonl", "train.jsonl", "validation.jsonl"]
    before = {split: path.stat().st_mtime_ns for split, path in paths.items()}
    assert sample.write(str(folder)) == paths
    assert {split: path.stat().st_mtime_ns for split, path in paths.items()} == before
    lines = paths["test"].read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == sample.records("test")


def test_write_repairs_a_changed_file(tmp_path: Path) -> None:
    paths = sample.write(tmp_path)
    intact = paths["train"].read_bytes()
    paths["train"].write_text("{}\n", encoding="utf-8")
    sample.write(tmp_path)
    assert paths["train"].read_bytes() == intact


def test_unknown_split_names_the_splits() -> None:
    with pytest.raises(ValueError, match="train, validation, test"):
        sample.records("dev")
