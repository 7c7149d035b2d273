"""What tests share: tiny random models with real tokenizers, made once for the whole run; nothing is downloaded."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # also of the processes that tests start, of which several run at once

import gc
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from task_records import RECORDS
from tiny_models import TOKENIZERS, build_tokenizer, save_model
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import lightadapt as la
from lightadapt import sample

torch.set_num_threads(1)
pytest.register_assert_rewrite("learned")


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


@pytest.fixture(autouse=True)
def plain_processor(monkeypatch):
    """A CPU without bfloat16, so that the defaults are the same on every machine."""
    able = {**torch.cpu.get_capabilities(), "avx512_bf16": False, "amx_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)


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
