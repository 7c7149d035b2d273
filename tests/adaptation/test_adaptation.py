"""Properties that every architecture × task × method must have; one line each over one table."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest
import torch
from learned import stir, trainable, without_dropout
from tiny_models import ARCHITECTURES

import lightadapt as la
from lightadapt.methods import NAMES

TASKS = ("classification", "ner")
METHODS = (la.LoRA(), la.LoRA(targets="attention"), la.Probe(), la.Full())
CASES = [
    pytest.param(name, task, method, id=f"{name}-{task}-{number}-{method.name}")
    for name in ARCHITECTURES
    for task in TASKS
    for number, method in enumerate(METHODS)
]


@pytest.fixture
def make(tiny, messages):
    """An adaptation of a tiny model, and one batch of it with labels."""

    def build(name, task, method, **options):
        adapted = la.adapt(tiny(name), task, method, labels=messages, **options)
        features = adapted.runner.encode(adapted.task.parse(adapted.task.read(messages[:8])), targets=True)
        return adapted, adapted.runner.collate(features)

    return build


@pytest.mark.parametrize(("name", "task", "method"), CASES)
def test_only_what_the_method_names_is_trained(make, name, task, method):
    adapted, _ = make(name, task, method)
    everything = dict(adapted.model.named_parameters()).keys()
    head = {entry for entry in everything if not entry.startswith(f"{adapted.model.base_model_prefix}.")}
    assert head
    assert head <= trainable(adapted.model).keys()
    inside = trainable(adapted.model).keys() - head
    if method.name == "lora":
        assert inside
        assert all("lora_" in entry for entry in inside)
    elif method.name == "probe":
        assert not inside
    else:
        assert trainable(adapted.model).keys() == dict(adapted.model.named_parameters()).keys()


@pytest.mark.parametrize(("name", "task", "method"), CASES)
def test_every_trained_tensor_learns_and_the_rest_stays(make, name, task, method):
    adapted, batch = make(name, task, method)
    model = adapted.model.train()
    without_dropout(model)
    before = copy.deepcopy(dict(model.named_parameters()))
    optimizer = torch.optim.Adam(trainable(adapted.model).values(), lr=1e-2)
    losses = []
    for _ in range(6):
        loss = model(**batch).loss
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
    moved = {entry for entry, p in model.named_parameters() if not torch.equal(p, before[entry])}
    # DeBERTa has a table of positions that it uses for nothing where positions are relative only.
    unused = {"deberta.embeddings.position_embeddings.weight", "deberta.encoder.LayerNorm.weight"}
    assert trainable(adapted.model).keys() - moved <= unused
    assert moved <= trainable(adapted.model).keys()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("name", "task", "method"), CASES)
def test_reload_is_bit_equal(make, tmp_path, name, task, method):
    adapted, batch = make(name, task, method)
    stir(trainable(adapted.model).values())
    adapted.save(tmp_path / "saved")
    with torch.no_grad():
        again = la.load(tmp_path / "saved")
        assert torch.equal(adapted.model(**batch).logits, again.model(**batch).logits)
    assert again.labels == adapted.labels
    assert str(again) == str(adapted)
    assert trainable(again.model).keys() == trainable(adapted.model).keys()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_lora_starts_as_the_identity_and_merges(make, name, task):
    adapted, batch = make(name, task, la.LoRA())
    probe, _ = make(name, task, la.Probe())
    with torch.no_grad():
        assert torch.equal(adapted.model(**batch).logits, probe.model(**batch).logits)
        stir(trainable(adapted.model).values())
        unmerged = adapted.model(**batch).logits
        merged = adapted.merge()
        torch.testing.assert_close(merged(**batch).logits, unmerged, atol=1e-5, rtol=1e-5)
        assert torch.equal(adapted.model(**batch).logits, unmerged)
    assert not any("lora" in entry for entry, _ in merged.named_parameters())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_batch_gives_what_one_by_one_gives(make, messages, name, task):
    adapted, _ = make(name, task, la.LoRA())
    texts = [record["text"] for record in messages[:6]]
    together = adapted.predict(texts, scores=True)
    single = [adapted.predict([text], scores=True)[0] for text in texts]
    if task == "classification":
        for one, other in zip(together, single, strict=True):
            assert one == pytest.approx(other, abs=1e-5)
    else:
        assert [[e["text"] for e in es] for es in together] == [[e["text"] for e in es] for es in single]


def test_reload_is_bit_equal_in_another_process(make, tmp_path, messages):
    texts = [record["text"] for record in messages[:5]]
    expected = {}
    cases = [(name, task, "lora") for name in ARCHITECTURES for task in TASKS]
    cases += [("bert", "ner", method) for method in NAMES if method != "lora"]
    for name, task, method in cases:
        adapted, _ = make(name, task, method)
        stir(trainable(adapted.model).values())
        adapted.save(tmp_path / f"{name}-{task}-{method}")
        expected[f"{name}-{task}-{method}"] = adapted.predict(texts, scores=True)
    script = (
        "import json, sys, torch; torch.set_num_threads(1)\n"
        "import lightadapt as la\n"
        "names, texts = json.loads(sys.argv[1]), json.loads(sys.argv[2])\n"
        "print(json.dumps({n: la.load(sys.argv[3] + '/' + n).predict(texts, scores=True) for n in names}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(list(expected)), json.dumps(texts), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == expected


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_layers_choose_the_blocks(make, name):
    last, _ = make(name, "classification", la.LoRA(), layers="last:1")
    first, _ = make(name, "classification", la.LoRA(), layers=[0])
    everywhere, _ = make(name, "classification", la.LoRA())
    counts = [sum("lora_" in entry for entry in trainable(adapted.model)) for adapted in (last, first, everywhere)]
    assert counts[2] == 3 * counts[0]
    assert counts[0] == counts[1]
    full, _ = make(name, "classification", "full", layers="last:1")
    block = full.runner.adaptation.design.plan.blocks[0].path
    assert all(
        entry.startswith(f"{block}.") or entry in full.runner.adaptation.base.head for entry in trainable(full.model)
    )
    assert any(entry.startswith(f"{block}.") for entry in trainable(full.model))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_bases_train_float32(make, tmp_path, dtype):
    adapted, batch = make("bert", "classification", la.LoRA(), dtype=dtype)
    assert adapted.model.dtype == getattr(torch, dtype)
    assert {p.dtype for p in trainable(adapted.model).values()} == {torch.float32}
    adapted.model(**batch).loss.backward()
    adapted.save(tmp_path / "half")
    with torch.no_grad():
        again = la.load(tmp_path / "half", dtype=dtype)
        assert torch.equal(again.model(**batch).logits, adapted.model(**batch).logits)
    assert la.load(tmp_path / "half").model.dtype == torch.float32  # the fingerprint does not depend on the dtype


def test_saved_tensors_are_those_that_train(make):
    for method in METHODS:
        adapted, _ = make("bert", "ner", method)
        saved = adapted.runner.adaptation.tensors()
        plain = {entry.replace(".default.", ".") for entry in trainable(adapted.model)}
        assert {entry.removeprefix("base_model.model.") for entry in saved} == plain
