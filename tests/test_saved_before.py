"""Artifacts that version 0.1.0 saved before its files were rearranged still load, and predict what they predicted."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

import lightadapt as la

FOLDER = Path(__file__).parent / "fixtures" / "artifacts"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))


def same(found, expected):
    """Whether two predictions are equal but for the rounding of another processor."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[name], expected[name]) for name in expected)
    if isinstance(expected, float):
        return found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    return found == expected


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_saved_before(name):
    case = EXPECTED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = la.load(FOLDER / name, base=FOLDER / "base" / case["base"], dtype="float32", device="cpu")
        found = adapted.predict(case["inputs"], **case["arguments"])
    assert adapted.labels == case["labels"]
    assert len(found) == len(case["predictions"]) > 0
    for one, other in zip(found, case["predictions"], strict=True):
        if isinstance(other, list):
            assert len(one) == len(other)
            assert all(same(*pair) for pair in zip(one, other, strict=True))
        else:
            assert same(one, other)
