"""What tests share: tiny random models with real tokenizers, made once for the whole run; nothing is downloaded."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # also of the processes that tests start, of which several run at once

import copy
import gc
import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from task_records import RECORDS
from tiny_models import TOKENIZERS, build_tokenizer, save_model
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import lightadapt as la
from lightadapt import sample
from lightadapt.machine.hardware import PRETENDED, processor

torch.set_num_threads(1)
pytest.register_assert_rewrite("learned")

# A CPU without bfloat16, unless the other kind is asked for, so that the defaults are the same on every machine. It is
# in the environment for the child processes, and set here once so that no fixture takes it back.
os.environ.setdefault(PRETENDED, "plain")


@pytest.fixture(scope="module", autouse=True)
def set_aside():
    """What is there before the tests of a file is not looked through again for garbage.

    Trainer collects garbage at the start of every run. With all that torch and transformers hold, that takes longer
    than a short run itself.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tokenizers() -> Callable[[str], PreTrainedTokenizerFast]:
    return cache(build_tokenizer)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, tokenizers) -> Callable[[str], Path]:
    """The folder of a tiny pretrained model of an architecture: a bare backbone, or a language model."""
    root = tmp_path_factory.mktemp("models")
    folders: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in folders:
            folders[name] = root / name
            save_model(name, folders[name])
            tokenizers(TOKENIZERS.get(name, "word")).save_pretrained(folders[name])
        return folders[name]

    return make


@pytest.fixture
def comparable_encoder(tiny, tmp_path) -> Callable[..., Path]:
    """A tiny encoder with the files that say how its vectors are pooled, so that they can be compared."""

    def make(config: dict, name: str = "bert") -> Path:
        folder = tmp_path / f"comparable-{name}"
        if not folder.exists():
            shutil.copytree(tiny(name), folder)
            modules = [{"type": "a.Transformer"}, {"type": "a.Pooling", "path": "p"}]
            (folder / "modules.json").write_text(json.dumps(modules))
            (folder / "p").mkdir()
        (folder / "p" / "config.json").write_text(json.dumps(config))
        return folder

    return make


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Path]:
    """A folder that is filled once for all workers of pytest: whoever comes first fills it, the others wait."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder, filled = root / name, root / f"{name}.filled"
        with FileLock(root / f"{name}.lock"):
            if not folder.exists():
                folder.mkdir()
                fill(folder)
                filled.touch()
        if not filled.exists():
            pytest.fail(f"{name} was tried before, and failed")
        return folder

    return make


@pytest.fixture
def plain_processor(monkeypatch):
    """A CPU that does not compute bfloat16, for tests of what it takes by itself."""
    monkeypatch.setenv(PRETENDED, "plain")


@pytest.fixture
def bfloat16_processor(monkeypatch):
    """A CPU that computes bfloat16, or says so."""
    monkeypatch.setenv(PRETENDED, "bfloat16")


def pytest_terminal_summary(terminalreporter):
    """Say which kind of processor the tests ran on; the header would say it too, but `-q` leaves that out."""
    terminalreporter.write_line(f"processor: {os.environ[PRETENDED]} ({PRETENDED}); this machine's own: {processor()}")


@pytest.fixture
def no_weights(monkeypatch):
    """Loading any weight fails the test."""

    def fail(*_, **__):
        pytest.fail("weights were loaded before the refusal")

    monkeypatch.setattr(PreTrainedModel, "from_pretrained", classmethod(fail))


@pytest.fixture(scope="session")
def messages() -> list[dict]:
    """A few records of the sample data that hold every label."""
    return sample.records("train")[:60]


@pytest.fixture
def classifier(tiny, messages):
    """A fresh tiny classifier."""

    def make(**options):
        return la.adapt(tiny("bert"), "classification", **{"labels": messages, **options})

    return make


@pytest.fixture
def settled(tiny):
    """An adaptation to a task with its head ready, and examples for it."""

    def build(name, task, **options):
        adapted = la.adapt(tiny(name), task, **options)
        seen = adapted.runner.prepare(RECORDS[adapted.task.name])
        adapted.runner.settle(seen.task)
        return adapted, seen.examples

    return build


@pytest.fixture
def write(tmp_path):
    """A file with this content."""

    def make(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


@pytest.fixture
def chatting(tokenizers):
    """A tokenizer with a chat template, and tokens that begin and end its turns."""

    def make(template, kind="llama"):
        tokenizer = copy.deepcopy(tokenizers(kind))
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
        tokenizer.chat_template = template
        return tokenizer

    return make
