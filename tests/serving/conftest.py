"""Saved adaptations of tiny models, and the application that serves them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from learned import as_learned
from starlette.testclient import TestClient

import lightadapt as la
from lightadapt.serving.app import make_app
from lightadapt.serving.catalogue import Catalogue
from lightadapt.serving.metrics import Metrics
from lightadapt.serving.settings import Settings

HOST = "http://127.0.0.1"


@pytest.fixture(scope="session")
def saved(tiny, messages, tmp_path_factory):
    """Folders of fresh adaptations of three bases."""
    root = tmp_path_factory.mktemp("served")
    for name, base, task, labels in (
        ("intents", "bert", "classification", messages),
        ("ner", "bert", "ner", messages),
        ("qa", "bert", "qa", None),
        ("writer", "gpt2", "generation", None),
        ("chat", "llama", "dialogue", None),
        ("summary", "t5", "summarization", None),
    ):
        as_learned(la.adapt(tiny(base), task, labels=labels)).save(root / name)
    return root


@pytest.fixture(scope="module")
def start(saved):
    """Start the application with adaptations; the client, and the catalogue behind it."""
    catalogues = []

    def make(*names, **settings):
        chosen, metrics = Settings(**settings), Metrics()
        catalogue = Catalogue(chosen, metrics)
        catalogues.append(catalogue)
        catalogue.load({name: saved / name for name in names})
        app = make_app(catalogue, chosen, metrics)
        return TestClient(app, base_url=HOST, raise_server_exceptions=False), catalogue

    yield make
    for catalogue in catalogues:
        catalogue.stop()


class Held:
    """Keeps the engines from computing for the time of a block."""

    def __init__(self) -> None:
        self.sizes, self.computing = [], threading.Event()
        self._open = threading.Event()
        self._open.set()

    def __enter__(self):
        self.sizes.clear()
        self.computing.clear()
        self._open.clear()
        return self

    def __exit__(self, *_):
        self._open.set()

    def wait(self, inputs):
        self.computing.set()
        self._open.wait(60)
        self.sizes.append(len(inputs))


@pytest.fixture
def held(monkeypatch):
    held, predict = Held(), la.Adapted.predict

    def waiting(self, inputs, **how):
        held.wait(inputs)
        return predict(self, inputs, **how)

    monkeypatch.setattr(la.Adapted, "predict", waiting)
    return held


@pytest.fixture
def pool():
    with ThreadPoolExecutor(10) as pool:
        yield pool
