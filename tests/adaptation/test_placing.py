"""Several processes at one folder: nothing of anybody's is lost, and whoever reads gets one whole state."""

from __future__ import annotations

import os
import shutil
import time
from multiprocessing import get_context

import pytest

import lightadapt as la
from lightadapt.adaptation import placing, saved
from lightadapt.adaptation.artifact import read_artifact, write_artifact

SECONDS = 1.5


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("placing") / "saved"
    la.adapt(tiny("bert"), "classification", labels=["a", "b"]).save(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "place" / "saved")


def again(folder, original):
    """Save what was read from one folder to another, marked in its tensors."""
    write_artifact(
        folder,
        manifest={key: value for key, value in original.manifest.items() if key not in ("digest", "digests", "files")},
        tensors=original.tensors,
        write_config=lambda file: shutil.copy2(original.path / file.name, file),
        write_tokenizer=lambda fresh: [
            shutil.copy2(original.path / name, fresh / name) for name in ("tokenizer.json", "tokenizer_config.json")
        ],
        card="",
    )


def save_for(seconds, folder, whole, results):
    """Save over and over; how often it went right, and what went wrong."""
    original, end, saves, errors = read_artifact(whole), time.monotonic() + seconds, 0, []
    while time.monotonic() < end:
        try:
            again(folder, original)
            saves += 1
        except Exception as error:
            errors.append(repr(error))
    results.put((saves, errors))


@pytest.fixture
def saver(folder, whole):
    """Starts a process that saves for a while; gives the queue of its results."""
    context, started = get_context("fork"), []

    def start():
        results = context.Queue()
        process = context.Process(target=save_for, args=(SECONDS, folder, whole, results))
        process.start()
        started.append(process)
        return results

    yield start
    for process in started:
        process.join(30)


def test_two_savers_lose_nothing(folder, saver):
    (folder / "notes.txt").write_text("mine")
    (folder / "drafts").mkdir()
    (folder / "drafts" / "one.md").write_text("mine, too")
    found = [results.get(timeout=60) for results in [saver(), saver()]]
    assert all(saves > 3 and not errors for saves, errors in found), found
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "drafts" / "one.md").read_text() == "mine, too"
    assert [entry.name for entry in folder.parent.iterdir()] == ["saved"]
    read_artifact(folder)


@pytest.mark.parametrize("locks", [True, False])
def test_a_reader_beside_a_saver_gets_a_whole_state_and_only_reads(folder, saver, monkeypatch, locks):
    results = saver()
    if not locks:  # as on file systems without them
        monkeypatch.setattr(placing, "fcntl", None)
    for name in ("replace", "rename", "unlink", "mkdir", "rmdir"):
        monkeypatch.setattr(os, name, lambda *_, **__: pytest.fail("a reader writes"))
    reads, end = 0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        assert read_artifact(folder).manifest["labels"] == ["a", "b"]
        reads += 1
    monkeypatch.undo()
    saves, errors = results.get(timeout=60)
    assert min(reads, saves) >= 1
    assert errors == []


def test_the_former_artifact_comes_back_when_the_second_rename_fails(folder, whole, monkeypatch):
    original, before = read_artifact(whole), {entry.name: entry.read_bytes() for entry in folder.iterdir()}
    real, calls = os.replace, []

    def fail_once(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(os, "replace", fail_once)
    with pytest.raises(la.ArtifactError, match=rf"{folder} cannot be written: .*No space left.*is unchanged"):
        again(folder, original)
    assert {entry.name: entry.read_bytes() for entry in folder.iterdir()} == before
    assert [entry.name for entry in folder.parent.iterdir()] == ["saved"]


def test_what_a_killed_save_left_of_the_users_is_brought_home(folder, whole):
    former = shutil.copytree(whole, placing.previous_of(folder))
    (former / "notes.txt").write_text("mine")
    again(folder, read_artifact(whole))
    assert (folder / "notes.txt").read_text() == "mine"
    former = shutil.copytree(whole, placing.previous_of(folder))
    (former / "notes.txt").write_text("other words")
    again(folder, read_artifact(whole))
    assert (folder / "notes.txt").read_text() == "mine"
    (kept,) = folder.parent.glob(".saved.*.kept")
    assert [(entry.name, entry.read_text()) for entry in kept.iterdir()] == [("notes.txt", "other words")]


def test_a_folder_that_another_process_writes_is_not_cleared(folder, whole):
    with placing.fresh_folder(folder) as writing:
        again(folder, read_artifact(whole))
        assert writing.is_dir()
    assert not writing.exists()


def test_a_file_of_the_user_does_not_give_way(folder, whole):
    original = read_artifact(whole)
    manifest = (folder / "lightadapt.json").read_text()
    (folder / "lightadapt.json").write_text(manifest.replace('"tokenizer.json",', "", 1))
    with pytest.raises(la.ArtifactError, match=r"holds a file 'tokenizer.json' that no save wrote there"):
        again(folder, original)


@pytest.mark.parametrize("message", ["No space left on device", "Disk quota exceeded"])
def test_a_tokenizer_that_cannot_be_written_is_an_artifact_error(folder, whole, message):
    original = read_artifact(whole)

    def full(_):
        raise Exception(message)  # as tokenizers does

    with pytest.raises(la.ArtifactError, match=rf"{folder} cannot be written: {message}. What was saved there before"):
        write_artifact(folder, manifest={}, tensors=original.tensors, write_config=full, write_tokenizer=full, card="")
    read_artifact(folder)


def test_a_place_that_is_a_file_is_refused(folder, whole, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(la.ArtifactError, match=r"file/saved cannot be written"):
        again(tmp_path / "file" / "saved", read_artifact(whole))


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "onto"])
def test_without_locks_the_tokenizer_is_that_of_the_same_save(tiny, tmp_path, monkeypatch, shared):
    adapted = la.adapt(tiny("bert"), "classification", labels=["a", "b"])
    adapted.save(tmp_path / "saved")
    monkeypatch.setattr(placing, "fcntl", None)
    read, saves = saved._load_tokenizer, []

    def save_meanwhile(artifact, source, task):
        found = read(artifact, source, task)
        if not saves:  # somebody saves with another tokenizer between the weights and the tokenizer
            adapted.tokenizer.model_max_length = 33
            adapted.save(tmp_path / "saved")
        saves.append(found.model_max_length)
        return found

    monkeypatch.setattr(saved, "_load_tokenizer", save_meanwhile)
    loaded = la.load(tmp_path / "saved", onto=la.adapt(tiny("bert"), "ner") if shared else None)
    assert saves[0] != saves[1] == 33
    assert (loaded.use("saved") if shared else loaded).tokenizer.model_max_length == 33
