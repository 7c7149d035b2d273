"""`lightadapt extend`, from files to an artifact."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import lightadapt as la
from lightadapt.cli import app


def call(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def saved(classifier, messages, tmp_path):
    adapted = classifier()
    adapted.fit(messages, epochs=1, args={"disable_tqdm": True})
    adapted.save(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.fixture
def new(tmp_path):
    rows = [{"text": f"how long is the guarantee of {word}", "label": "warranty"} for word in ("it", "this", "that")]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "new.jsonl"


def test_it_extends_in_place_and_says_what_was_kept(saved, new):
    before = la.load(saved).labels
    done = call("extend", saved, "--data", new, "--memory", 2, "--epochs", 1, "--validation", new)
    assert done.exit_code == 0, done.output
    assert "step 1: 3 records, 1 new class" in done.output
    assert "with 2 records" in done.output
    assert la.load(saved).labels == [*before, "warranty"]
    assert la.load(saved, step=0).labels == before


def test_it_leaves_what_was_there_where_it_is_told_to(saved, new, tmp_path):
    before = la.load(saved).labels
    done = call("extend", saved, "--data", new, "--memory", 0, "--epochs", 1, "--out", tmp_path / "other")
    assert done.exit_code == 0, done.output
    assert la.load(saved).labels == before
    assert la.load(tmp_path / "other").remembered == []
    again = call("extend", saved, "--data", new, "--out", tmp_path / "other")
    assert again.exit_code == 1
    assert "there already" in again.output


def test_what_cannot_be_extended_is_refused(new, tmp_path):
    done = call("extend", "some/where", "--data", new)
    assert done.exit_code == 1
    assert "--out" in done.output
    done = call("extend", tmp_path / "nope", "--data", new)
    assert done.exit_code == 1
    assert "There is no folder" in done.output
