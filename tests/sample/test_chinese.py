"""The Chinese sample data set has the properties of the English one: balanced, exact, held out, reproducible."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

import lightadapt as la
from lightadapt import sample
from lightadapt.sample import chinese

SPLITS = pytest.mark.parametrize("split", sample.SPLITS)
SEEDS = pytest.mark.parametrize("seed", [0, 1, 2])


def surfaces(split: str, seed: int, label: str) -> set[str]:
    return {
        record["text"][entity["start"] : entity["end"]].lower()
        for record in sample.records(split, seed, language="zh")
        for entity in record["entities"]
        if entity["label"] == label
    }


@SPLITS
def test_intents_sizes_and_entity_types_are_the_english_ones(split: str) -> None:
    found, english = sample.records(split, language="zh"), sample.records(split)
    assert Counter(record["label"] for record in found) == Counter(record["label"] for record in english)
    types = [{entity["label"] for record in records for entity in record["entities"]} for records in (found, english)]
    assert types[0] == types[1]


@SPLITS
@SEEDS
def test_offsets_cut_whole_entities(split: str, seed: int) -> None:
    for record in sample.records(split, seed, language="zh"):
        assert list(record) == ["text", "label", "entities"]
        end_of_last = 0
        for entity in record["entities"]:
            surface = record["text"][entity["start"] : entity["end"]]
            assert end_of_last <= entity["start"] < entity["end"] <= len(record["text"])
            assert not re.search(r"[，。！？：\s\[\]{}|@]", surface)
            end_of_last = entity["end"]


@SPLITS
def test_surfaces_are_those_of_their_type(split: str) -> None:
    looks = {
        "ORDER": r"[#\w/-]*\d{2}",
        "AMOUNT": r".*[元块钱镑郎¥£\d]",
        "DATE": r".*[月日号周期天上晚前早一午节秋庆旦底四五]",
    }
    for label, pattern in looks.items():
        for surface in surfaces(split, 0, label):
            assert re.match(pattern, surface, re.IGNORECASE), surface


@SPLITS
def test_texts_are_clean(split: str) -> None:
    for record in sample.records(split, language="zh"):
        text = record["text"]
        assert text == " ".join(text.split())
        assert not re.search(r"[，。！？][，。！]|[，。！？] | [，。！？]|[\[\]{}|@]", text), text
        assert re.search(r"[\u4e00-\u9fff]", text)
        assert len(re.findall("请", text)) < 3


@SEEDS
def test_no_text_occurs_twice(seed: int) -> None:
    texts = [record["text"].lower() for split in sample.SPLITS for record in sample.records(split, seed, language="zh")]
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize("label", ["PERSON", "PRODUCT", "PLACE"])
@SEEDS
def test_most_test_entities_are_new(label: str, seed: int) -> None:
    asked = surfaces("test", seed, label)
    assert len(asked - surfaces("train", seed, label)) >= 0.8 * len(asked)


def test_templates_are_not_shared_between_splits() -> None:
    owners = Counter(
        template for split in sample.SPLITS for templates in chinese.TEMPLATES[split].values() for template in templates
    )
    assert set(owners.values()) == {1}
    for split, templates in sample.TEMPLATES.items():
        assert {intent: len(each) for intent, each in chinese.TEMPLATES[split].items()} == {
            intent: len(each) for intent, each in templates.items()
        }


def test_write_and_seed(tmp_path: Path) -> None:
    paths = sample.write(tmp_path, language="zh")
    lines = paths["test"].read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == sample.records("test", language="zh")
    assert sample.records("test", 1, language="zh") != sample.records("test", 2, language="zh")


def test_unknown_language_names_the_languages() -> None:
    with pytest.raises(la.LightAdaptError, match=r"Unknown language 'zh-CN'\. Languages: en, zh"):
        sample.records("train", language="zh-CN")
