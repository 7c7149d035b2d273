"""Adaptations that come and go while a server runs, and corrections that are learned from."""

from __future__ import annotations

import json
import shutil

import pytest
from asked import reason

import lightadapt as la
from lightadapt import data

TEXT = "Please send it to Cape Town"


@pytest.fixture
def folder(saved, tmp_path):
    """A folder that adaptations may be added from."""
    (tmp_path / "allowed").mkdir()
    for name in ("qa", "writer"):
        shutil.copytree(saved / name, tmp_path / "allowed" / name)
    shutil.copytree(saved / "qa", tmp_path / "elsewhere")
    (tmp_path / "allowed" / "link").symlink_to(tmp_path / "elsewhere")
    return tmp_path / "allowed"


def test_one_comes_and_goes(start, folder):
    client, _ = start("ner", adapters=folder)
    added = client.post("/adapters", json={"name": "asked", "path": "qa"})
    assert added.status_code == 201
    assert added.json()["task"] == "qa"
    asked = {"inputs": [{"question": "Who?", "context": "Ada was here."}]}
    assert client.post("/predict/asked", json=asked).status_code == 200
    assert client.post("/adapters", json={"name": "asked", "path": "qa"}).status_code == 409
    assert client.delete("/adapters/asked").json() == {"id": "asked", "deleted": True}
    assert client.post("/predict/asked", json=asked).status_code == 404
    assert client.delete("/adapters/asked").status_code == 404
    assert client.post("/predict/ner", json={"inputs": [TEXT]}).status_code == 200


@pytest.mark.parametrize(
    ("name", "path", "status", "message"),
    [
        ("a", "../elsewhere", 403, "lies outside the folder"),
        ("a", "/etc", 403, "lies outside the folder"),
        ("a", "link", 403, "lies outside the folder"),
        ("a", ".", 403, "lies outside the folder"),
        ("a", "x" * 5_000, 404, "there is no such folder"),
        ("a", "qa\0", 404, "there is no such folder"),
        ("a", "qaa", 404, "there is no such folder"),
        ("a b", "qa", 422, "'a b' cannot be used"),
        ("train", "qa", 422, "torch uses this name itself"),
        ("a", "writer", 409, "another base than those in memory"),
        ("ner", "qa", 409, "'ner' is taken"),
    ],
)
def test_what_cannot_be_added_is_refused(start, folder, name, path, status, message):
    client, catalogue = start("ner", adapters=folder)
    answer = client.post("/adapters", json={"name": name, "path": path})
    assert (answer.status_code, message in reason(answer)) == (status, True), answer.text
    assert catalogue.names == ["ner"]
    assert catalogue.named("ner").engine.adapted.names == ["ner"]


def test_the_only_one_of_a_base_stays(start, folder):
    client, _ = start("ner", adapters=folder)
    assert client.delete("/adapters/ner").status_code == 409
    assert client.post("/predict/ner", json={"inputs": [TEXT]}).status_code == 200


def test_both_are_off_unless_asked_for(start):
    client, _ = start("ner")
    assert client.post("/adapters", json={"name": "a", "path": "qa"}).status_code == 404
    assert client.delete("/adapters/ner").status_code == 404
    assert client.post("/feedback/ner", json={"input": TEXT, "correction": []}).status_code == 404


def test_corrections_are_records_that_fit_reads(start, saved, tmp_path):
    client, _ = start("ner", "intents", feedback=tmp_path / "corrections")
    town = [{"start": 18, "end": 27, "label": "CITY", "text": "Cape Town"}]
    label = la.load(saved / "ner").labels[0]
    town[0]["label"] = label
    for name, correction, prediction in (("ner", town, []), ("intents", "refund", "track_order")):
        for _ in range(2):
            given = {"input": TEXT, "correction": correction, "prediction": prediction}
            assert client.post(f"/feedback/{name}", json=given).status_code == 201
    (first, _) = map(json.loads, (tmp_path / "corrections" / "ner.jsonl").read_text().splitlines())
    assert (first["text"], first["entities"], first["prediction"]) == (TEXT, town, [])
    assert len(data.read(str(tmp_path / "corrections" / "intents.jsonl"))) == 2
    for name in ("ner", "intents"):
        history = la.load(saved / name).fit(str(tmp_path / "corrections" / f"{name}.jsonl"), epochs=1)
        assert history.losses


@pytest.mark.parametrize("given", [None, True, 5, "a", {"role": "user"}])
def test_a_correction_of_what_is_no_conversation_is_refused(start, tmp_path, given):
    client, _ = start("chat", feedback=tmp_path / "corrections")
    answer = client.post("/feedback/chat", json={"input": {"messages": given}, "correction": "yes"})
    assert (answer.status_code, bool(reason(answer))) == (422, True)
    assert not (tmp_path / "corrections").exists()


def test_a_correction_that_finds_no_room_leaves_the_file_as_it_was(start, tmp_path):
    resource = pytest.importorskip("resource")
    client, _ = start("intents", feedback=tmp_path)
    given, file = {"input": TEXT, "correction": "refund"}, tmp_path / "intents.jsonl"
    assert client.post("/feedback/intents", json=given).status_code == 201
    before, limits = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, limits[1]))  # where 20 bytes more are room for
    try:
        answer = client.post("/feedback/intents", json=given)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (answer.status_code, file.read_bytes()) == (507, before)
    assert "could not be kept (File too large). Make room there" in reason(answer)
    assert client.post("/feedback/intents", json=given).status_code == 201
    assert len(data.read(str(file))) == 2


def test_a_folder_for_corrections_that_cannot_be_written_is_told_of(start, tmp_path):
    client, _ = start("intents", feedback=tmp_path / "corrections")
    (tmp_path / "corrections").write_text("a file")  # where there is one at the start, nothing is started
    answer = client.post("/feedback/intents", json={"input": TEXT, "correction": "refund"})
    assert (answer.status_code, "See to its folder" in reason(answer)) == (503, True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"input": TEXT, "correction": "refnud"}, "refnud"),
        ({"input": "", "correction": "refund"}, "text is empty"),
        ({"input": 5, "correction": "refund"}, "neither a text nor a record"),
        ({"input": TEXT}, "correction: Field required"),
        ({"input": {"text": TEXT, "label": "refund"}, "correction": None}, "label"),
    ],
)
def test_corrections_that_cannot_be_learned_are_refused(start, tmp_path, given, message):
    client, _ = start("intents", feedback=tmp_path / "corrections")
    answer = client.post("/feedback/intents", json=given)
    assert (answer.status_code, message in reason(answer)) == (422, True), answer.text
    assert not (tmp_path / "corrections").exists()
