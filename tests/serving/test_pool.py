"""More adaptations than memory holds: each answers for itself, whatever comes in and goes meanwhile."""

from __future__ import annotations

import random
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from asked import reason
from starlette.testclient import TestClient

import lightadapt as la
from lightadapt.serving.app import make_app
from lightadapt.serving.catalogue import Catalogue
from lightadapt.serving.metrics import Metrics
from lightadapt.serving.settings import Settings

TEXTS = ["I want my money back", "Where is my parcel?"]
KINDS = (
    {"labels": ["a", "b"]},
    {"labels": ["c", "d"]},
    {"labels": ["a", "b", "c"]},
    {"labels": ["a", "b"], "method": "bottleneck"},
    {"labels": ["a", "b"], "method": "probe"},
)
"""The first two are of one kind, of which an artifact takes the place of another; the others differ."""


def stir(adapted, seed):
    """Give what is trained other values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in sorted(adapted.runner.adaptation.all_trained):
            parameter = adapted.model.get_parameter(name)
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)


@pytest.fixture(scope="module")
def many(tiny, tmp_path_factory):
    """Two hundred artifacts of one base, and what each answers."""
    root, expected = tmp_path_factory.mktemp("many"), {}
    makers = [la.adapt(tiny("bert"), "classification", **kind) for kind in KINDS]
    for number in range(200):
        adapted = makers[number % 3 if number % 10 else 3 + number // 10 % 2]
        stir(adapted, number)
        adapted.save(root / f"a{number}")
        expected[f"a{number}"] = adapted.predict(TEXTS, scores=True)
    assert len({str(each) for each in expected.values()}) == 200
    return root, expected


@pytest.fixture
def served(many):
    """Start an application with some of them; its client and its catalogue."""
    catalogues = []

    def make(names, root=many[0], **settings):
        chosen, metrics = Settings(**settings), Metrics()
        catalogues.append(Catalogue(chosen, metrics))
        catalogues[-1].load({name: root / name for name in names})
        app = make_app(catalogues[-1], chosen, metrics)
        return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False), catalogues[-1]

    yield make
    for catalogue in catalogues:
        catalogue.stop()


def ask(client, name):
    return client.post(f"/predict/{name}", json={"inputs": TEXTS, "scores": True})


def near(scores):
    return {"predictions": [pytest.approx(each, abs=1e-4) for each in scores]}


def test_each_answers_for_itself_in_any_order(served, many):
    client, catalogue = served(many[1], max_loaded=8)
    pool = catalogue.named("a0").engine.pool
    assert len(client.get("/v1/models").json()["data"]) == 200
    assert pool.loaded == [f"a{number}" for number in range(8)]
    for name in random.Random(0).choices(list(many[1]), k=120):
        answer = ask(client, name)
        assert (answer.status_code, answer.json()) == (200, near(many[1][name])), name
        assert len(pool.loaded) <= 8
        assert pool.loaded[-1] == name
    assert sorted(pool.loaded) == sorted(catalogue.named("a0").engine.adapted.names)
    assert 'lightadapt_adapter_loads_total{how="place taken"}' in client.get("/metrics").text


def test_many_at_once_under_load(served, many):
    client, catalogue = served(many[1], max_loaded=6)

    def go(seed):
        draw = random.Random(seed)
        for name in draw.choices(list(many[1]), weights=[1 / (n + 1) for n in range(200)], k=15):
            answer = ask(client, name)
            assert (answer.status_code, answer.json()) == (200, near(many[1][name])), name

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(go, range(8)))
    assert len(catalogue.named("a0").engine.pool.loaded) <= 6


def test_they_come_and_go_under_load(served, many):
    root, expected = many
    client, catalogue = served(["a0", "a1", "a2", "a3"], max_loaded=3, adapters=root)

    def change(first):
        for number in range(first, 20):
            added = client.post("/adapters", json={"name": f"a{number}", "path": f"a{number}"})
            assert added.status_code == 201, added.text
            assert ask(client, f"a{number}").json() == near(expected[f"a{number}"])
            assert client.delete(f"/adapters/a{number}").status_code == 200
            assert ask(client, f"a{number}").status_code == 404

    def go(seed):
        for name in random.Random(seed).choices(["a0", "a1", "a2", "a3"], k=30):
            answer = ask(client, name)
            assert (answer.status_code, answer.json()) == (200, near(expected[name])), name

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda each: each[0](each[1]), [(change, 10), *((go, seed) for seed in range(4))]))
    assert catalogue.names == ["a0", "a1", "a2", "a3"]
    assert set(catalogue.named("a0").engine.adapted.names) <= {"a0", "a1", "a2", "a3"}


def test_what_is_broken_is_told_to_its_own_requests_alone(served, many, tmp_path):
    root, expected = many
    for name in ("a0", "a1", "a2"):
        shutil.copytree(root / name, tmp_path / name)
    weights = tmp_path / "a1" / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    client, catalogue = served(["a0", "a1", "a2"], root=tmp_path, max_loaded=2)
    for _ in range(2):
        broken = ask(client, "a1")
        assert broken.status_code == 503
        assert "'a1' cannot be loaded now" in reason(broken)
        assert "damaged" in reason(broken)
        for name in ("a0", "a2"):
            assert ask(client, name).json() == near(expected[name])
    weights.write_bytes(whole)
    assert ask(client, "a1").json() == near(expected["a1"])
    assert catalogue.is_alive


def test_one_that_is_saved_again_is_the_new_one_when_it_comes_in(served, many, tmp_path):
    root, expected = many
    for name in ("a0", "a1", "a3"):
        shutil.copytree(root / name, tmp_path / name)
    client, _ = served(["a0", "a1", "a3"], root=tmp_path, max_loaded=1)
    assert ask(client, "a1").json() == near(expected["a1"])
    assert ask(client, "a0").json() == near(expected["a0"])
    shutil.rmtree(tmp_path / "a1")
    shutil.copytree(root / "a4", tmp_path / "a1")
    assert ask(client, "a1").json() == near(expected["a4"])


def test_those_with_requests_that_wait_stay(served, many, monkeypatch):
    client, catalogue = served(["a1", "a3", "a4", "a6"], max_loaded=3)
    pool = catalogue.named("a1").engine.pool
    assert pool.loaded == ["a1", "a3", "a4"]
    for name in ("a1", "a3", "a4"):
        assert ask(client, name).status_code == 200
    monkeypatch.setattr(pool, "_waiting", lambda: {"a1"})
    assert ask(client, "a6").json() == near(many[1]["a6"])
    assert pool.loaded == ["a1", "a4", "a6"]


def test_adapters_in_memory_are_counted_by_base(served, many, tiny, tmp_path):
    for name in ("a1", "a3", "a4"):
        shutil.copytree(many[0] / name, tmp_path / name)
    for name in ("b0", "b1"):
        la.adapt(tiny("roberta"), "classification", labels=["no", "yes"]).save(tmp_path / name)
    for most, counts in ((None, (3, 2)), (1, (1, 1))):
        client, catalogue = served(["a1", "b0", "a3", "a4", "b1"], root=tmp_path, max_loaded=most)
        assert ask(client, "a4").status_code == 200
        counted = client.get("/metrics").text
        for name, count in zip(("a1", "b0"), counts, strict=True):
            assert f'lightadapt_adapters_loaded{{base="{catalogue.named(name).base}"}} {count}.0' in counted


def test_a_method_that_changes_the_base_has_a_base_of_its_own(served, many, tiny, tmp_path):
    shutil.copytree(many[0] / "a1", tmp_path / "a1")
    la.adapt(tiny("bert"), "classification", "full", labels=["no", "yes"]).save(tmp_path / "full")
    _, catalogue = served(["a1", "full"], root=tmp_path, max_loaded=1)
    assert catalogue.named("full").engine is not catalogue.named("a1").engine


def test_a_limit_has_to_be_a_number():
    with pytest.raises(la.LightAdaptError, match="max_loaded=0: give a whole number above 0"):
        Settings(max_loaded=0)
