"""The learning rate of a head by default: by its outputs, and by what each of them reads."""

from __future__ import annotations

import math
from unittest.mock import PropertyMock

import pytest

import lightadapt as la
from lightadapt.heads.head import Head

QUIET = {"disable_tqdm": True, "max_steps": 1}
USUAL = la.LoRA.head_learning_rate
MARKED = "<e1>Anna</e1> lives in <e2>Rome</e2>"


def records(field, values):
    return [{"text": f"parcel {number}", field: value} for number, value in enumerate(values)] * 2


def rate_of(model, task, data, **options):
    return la.adapt(model, task).fit(data, args=QUIET, **options).settings["head_learning_rate"]


@pytest.mark.parametrize(
    ("task", "data", "share"),
    [
        ("classification", records("label", "ab"), math.sqrt(2 / 64)),
        ("classification", records("label", map(str, range(16))), 0.5),
        ("classification", records("label", map(str, range(80))), 1),
        ("regression", records("label", [0.5, 1.5]), 1 / 8),
        ("multilabel", records("labels", [["a"], ["b"]]), 1),
        ("ner", [{"tokens": ["Anna", "left"], "tags": ["B-PER", "O"]}] * 2, 1),
        ("relation", [{"text": MARKED, "label": label} for label in "ab"] * 2, math.sqrt(2 / 64)),
    ],
    ids=["two", "sixteen", "eighty", "regression", "multilabel", "ner", "relation"],
)
def test_rows_that_are_often_the_answer_go_slower(tiny, task, data, share):
    options = {"recipe": "standard"} if task in ("classification", "multilabel", "ner") else {}
    assert rate_of(tiny("bert"), task, data, **options) == pytest.approx(USUAL * share)


@pytest.mark.parametrize(("width", "share"), [(32, 1), (384, 1), (1152, 1 / 3), (4096, 384 / 4096)])
def test_a_wide_input_counts(tiny, monkeypatch, width, share):
    monkeypatch.setattr(Head, "input_width", PropertyMock(return_value=width))
    data = records("labels", [["a"], ["b"]])
    assert rate_of(tiny("bert"), "multilabel", data) == pytest.approx(USUAL * share)


def test_the_width_is_that_of_the_output_layer(tiny):
    """The head of a relation reads three hidden states, that of a text one."""
    widths = {task: la.adapt(tiny("bert"), task).runner.adaptation.head.input_width for task in ("relation", "ner")}
    assert widths["relation"] == 3 * widths["ner"]


def test_a_rate_that_is_given_keeps_its_ratio_to_the_head(tiny):
    data, options = records("label", "ab"), {"recipe": "standard"}
    usual = rate_of(tiny("bert"), "classification", data, **options)
    assert rate_of(tiny("bert"), "classification", data, learning_rate=1e-4, **options) == pytest.approx(usual / 10)
    assert rate_of(tiny("bert"), "classification", data, head_learning_rate=0.01, **options) == 0.01
