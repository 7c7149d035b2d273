"""Exports that go wrong: nothing half-written, what was there is intact, and the error says what to do."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import threading
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from learned import as_learned
from safetensors import SafetensorError
from typer.testing import CliRunner

import lightadapt as la
from lightadapt.adaptation.placing import EXPORT_NAME
from lightadapt.cli import app
from lightadapt.export import FORMATS, Format, Merged, room
from lightadapt.export.proof import Found

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def failing(formats_of_users):
    """A format of a user that writes half of its files, and fails."""

    @dataclass(frozen=True, kw_only=True)
    class Failing(Format):
        name: ClassVar[str] = "failing"
        error: ClassVar[BaseException] = RuntimeError()

        def write(self, runner, folder):
            (folder / "config.json").write_text("half")
            raise self.error

        def prove(self, runner, folder, prover):
            return Found()

    return Failing


def content_of(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


ERRORS = [
    (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), 2**30),
    (Exception("No space left on device (os error 28)"), 2**30),
    (RuntimeError("basic_ios::clear: iostream error"), 4096),
    (PermissionError(13, "Permission denied"), 2**30),
]


@pytest.mark.parametrize(("error", "free"), ERRORS, ids=lambda value: type(value).__name__)
def test_what_fails_while_writing_leaves_what_was_there(moved, tmp_path, monkeypatch, failing, error, free):
    adapted = moved("bert", "classification")
    adapted.export(tmp_path / "out", "merged")
    before, failing.error = content_of(tmp_path / "out"), error
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: Usage(2**40, 2**40, free))
    with pytest.raises(la.ArtifactError, match=r"out cannot be written: .*(No space|denied).* unchanged"):
        adapted.export(tmp_path / "out", "failing")
    assert content_of(tmp_path / "out") == before
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("check", [[], [{"text": "a", "label": "maybe"}]])
def test_data_to_check_on_is_named(moved, tmp_path, check):
    with pytest.raises(la.DataError, match=r"^check holds no records|^Record 0 \(check\): label 'maybe'"):
        moved("bert", "classification").export(tmp_path / "out", "merged", check=check)


@pytest.mark.parametrize("name", ["x" * 300, "d/\ud800", "a\0b", None, 5, "", ".."])
def test_a_path_that_cannot_be_is_refused(moved, name):
    adapted = moved("bert", "classification")
    for write in (adapted.save, lambda path: adapted.export(path, "merged")):
        with pytest.raises(la.ArtifactError, match=r"is not a folder name|does not name a folder"):
            write(name)


NO_FILE = "Can't load the model: no file named model.safetensors."
OF_FILES = [
    (
        OSError(errno.ENOSPC, "No space", "{out}/a"),
        "{out} cannot be written: No space. Make room on the disk of {out}.",
    ),
    (
        OSError(errno.EDQUOT, "No quota", "/scratch/a"),
        "{out} cannot be written: No quota. Make room on the disk of /scr",
    ),
    (
        OSError("No space left on device (os error 28)"),
        "{out} cannot be written: No space left on device. Make room on",
    ),
    (
        OSError(errno.EROFS, "Read-only", "{out}/a"),
        "{out} cannot be written: Read-only. Change the permissions of {root}",
    ),
    (
        OSError(errno.EACCES, "Denied", "{root}"),
        "{out} cannot be written: Denied. Change the permissions of {root}, or",
    ),
    (
        OSError(errno.EACCES, "Denied", "{root}/base/a"),
        "{root}/base/a cannot be read: Denied. It is needed for the export",
    ),
    (
        OSError(errno.EIO, "I/O error", "/base/a"),
        "/base/a cannot be read: I/O error. It is needed for the export to {out}",
    ),
    (
        OSError(NO_FILE),
        f"The export to {{out}} has ended: {NO_FILE} If it is the base {{base}} that was not found, see",
    ),
]


@pytest.mark.parametrize(("error", "told"), OF_FILES, ids=str)
def test_what_went_wrong_with_a_file_is_told_apart(moved, tmp_path, failing, error, told):
    adapted = moved("bert", "classification")
    names = {"root": tmp_path, "out": tmp_path / "out", "base": adapted.runner.adaptation.design.blueprint.source.name}
    failing.error = error
    if error.filename is not None:
        failing.error = OSError(error.errno, error.strerror, error.filename.format(**names))
    with pytest.raises(la.ArtifactError, match=re.escape(told.format(**names))) as raised:
        adapted.export(tmp_path / "out", "failing")
    assert str(raised.value).endswith(" What was exported there before is unchanged.")
    assert os.listdir(tmp_path) == []


def test_an_error_of_another_kind_is_not_taken_for_a_full_disk(moved, tmp_path, failing):
    failing.error = RuntimeError("something else")
    with pytest.raises(RuntimeError, match="something else"):
        moved("bert", "classification").export(tmp_path / "out", "failing")
    assert os.listdir(tmp_path) == []


KILLED = """
import os
from dataclasses import dataclass
import lightadapt as la
from lightadapt.export import Format

@dataclass(frozen=True, kw_only=True)
class Killed(Format):
    name = "killed"

    def write(self, runner, folder):
        (folder / "config.json").write_text("half")
        os.kill(os.getpid(), 9)

    def prove(self, runner, folder, prover):
        pass

la.load("{saved}").export("{out}", "killed")
"""


def test_a_kill_leaves_what_was_there_and_the_next_export_clears_up(moved, tmp_path):
    adapted = moved("bert", "classification")
    adapted.save(tmp_path / "saved")
    adapted.export(tmp_path / "place" / "out", "merged")
    before = content_of(tmp_path / "place" / "out")
    script = KILLED.replace("{saved}", str(tmp_path / "saved")).replace("{out}", str(tmp_path / "place" / "out"))
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == -9
    assert content_of(tmp_path / "place" / "out") == before
    assert len(os.listdir(tmp_path / "place")) == 2  # with what was half-written, beside it
    adapted.export(tmp_path / "place" / "out", Merged(dtype="float16"))
    assert os.listdir(tmp_path / "place") == ["out"]


def test_of_two_exports_into_one_folder_one_stands_as_a_whole(moved, tmp_path):
    jobs = [moved("bert", "classification"), moved("roberta", "classification")]
    failed: list[BaseException] = []

    def export(adapted, format):
        try:
            for _ in range(3):
                adapted.export(tmp_path / "out", format)
        except BaseException as error:  # of another thread
            failed.append(error)

    threads = [
        threading.Thread(target=export, args=(adapted, format))
        for adapted, format in zip(jobs, ("merged", "lora"), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert os.listdir(tmp_path) == ["out"]
    told = json.loads((tmp_path / "out" / EXPORT_NAME).read_text())
    assert sorted(told["files"]) == sorted(os.listdir(tmp_path / "out"))
    config = "config.json" if told["format"] == "merged" else "adapter_config.json"
    assert (tmp_path / "out" / config).is_file()


@pytest.fixture(scope="module")
def saved(tiny, messages, tmp_path_factory):
    """The folder of a saved classifier."""
    folder = tmp_path_factory.mktemp("saved") / "mine"
    as_learned(la.adapt(tiny("bert"), "classification", labels=messages, dtype="float32")).save(folder)
    return folder


REFUSED = [
    (["--to", "mergd"], "Did you mean 'merged'"),
    (["--to", ""], "Unknown format ''"),
    (["--to", "merged", "--quantize", "int8"], "has no quantize='int8'"),
    (["--to", "merged", "--max-loss", "0.1"], "--check"),
    (["--to", "onnx", "--set", "opst=20"], "Did you mean 'opset'"),
    (["--to", "onnx", "--set", "opset=abc"], "opset='abc'"),
    (["--to", "onnx", "--set", "opset=99999"], "a whole number from 18 to"),
    (["--to", "onnx", "--set", "greedy=7"], "greedy=7: write True or False"),
    (["--to", "onnx", "--quantize", "int4"], "Did you mean 'int8'"),
    (["--to", "lora", "--set", "max_rank=0"], "max_rank=0"),
    (["--to", "lora", "--set", "max_error=2"], "max_error=2"),
    (["--to", "lora-gguf", "--quantize", "q4_k_m"], "'f16' or 'f32'"),
    (["--to", "gguf", "--set", "adapter_only=maybe"], "adapter_only='maybe'"),
    (["--to", "sentence-transformers", "--set", "normalize=2"], "normalize=2"),
    (["--to", "sentence-transformers", "--set", "pooling=7"], "pooling=7"),
    (["--to", "vllm"], "Export to 'merged'"),
    (["--to", "merged", "--check", "no-such-file.jsonl"], "no-such-file.jsonl"),
    (["--to", "merged", "--out", "/proc/out"], "cannot be written"),
    (["--to", "merged", "--out", "{saved}"], "Choose another place for --out."),
    (["--to", "merged", "--out", "{saved}/lightadapt.json/out"], "cannot be written"),
]


@pytest.mark.parametrize(("options", "phrase"), REFUSED, ids=[" ".join(options) for options, _ in REFUSED])
def test_the_command_refuses_in_a_line(saved, tmp_path, monkeypatch, options, phrase):
    for known in FORMATS.values():
        monkeypatch.setattr(known, "packages", ())
    before = content_of(saved)
    given = [each.replace("{saved}", str(saved)) for each in options]
    found = CliRunner().invoke(app, ["export", str(saved), "--out", str(tmp_path / "out"), *given])
    assert found.exit_code == 1
    assert isinstance(found.exception, SystemExit)
    assert phrase in found.stderr
    assert "Traceback" not in found.stderr
    assert os.listdir(tmp_path) == []
    assert content_of(saved) == before


@pytest.mark.parametrize("quantize", ["4bit", "8bit"])
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_a_quantized_base_is_refused_before_anything_is_written(
    tiny, messages, tmp_path, monkeypatch, quantize, format
):
    pytest.importorskip("bitsandbytes")
    monkeypatch.setattr(FORMATS[format], "packages", ())
    adapted = la.adapt(tiny("bert"), "classification", labels=messages, quantize=quantize)
    with pytest.raises(la.LightAdaptError, match=rf"export\('{format}'\).*{quantize} weights"):
        adapted.export(tmp_path / "out", format)
    assert os.listdir(tmp_path) == []
