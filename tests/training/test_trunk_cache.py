"""Hidden states kept over the epochs: the same losses, for every architecture, or a reason why not."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from learned import StopAt
from tiny_models import SMALL
from transformers import AutoConfig, AutoModel

import lightadapt as la
from lightadapt.training import hidden_states, trunk_cache

EPOCHS = 3
QUIET = {"disable_tqdm": True, "logging_steps": 1}
FNET = ("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size", "max_position_embeddings")
ENTITIES = [
    {
        "tokens": ["a", "visit", "to", "Rome", *["now"] * (number % 7)],
        "tags": ["O", "O", "O", "B-LOC", *["O"] * (number % 7)],
    }
    for number in range(24)
]
CHOICES = [
    {"question": f"which {number}", "choices": ["this one", "that"], "answer": number % 2} for number in range(24)
]
PAIRS = [{"prompt": f"say {'so ' * (number % 5)}", "completion": f"yes {number}"} for number in range(24)]


def run(tiny, name: str, task: str, data, *, cache, layers="last:1", method="lora", **options):
    """The losses of a short run and how many blocks were read; dropout in the head draws the same numbers."""
    adapted = la.adapt(tiny(name), task, method, layers=layers)
    torch.manual_seed(0)
    history = adapted.fit(data, epochs=EPOCHS, cache=cache, args={**QUIET, "per_device_train_batch_size": 6}, **options)
    return torch.tensor([loss for _, loss in history.losses]), history.settings["cached_blocks"]


@pytest.mark.parametrize(
    ("name", "task", "blocks"),
    [
        ("bert", "ner", 2),
        ("distilbert", "ner", 2),
        ("deberta-v2", "ner", 2),
        ("modernbert", "ner", 2),
        ("electra", "ner", 2),
        ("llama", "classification", 2),
        ("gpt2", "ner", 2),
        ("qwen3", "generation", 2),
        ("gpt2", "generation", 2),
        ("bart", "generation", 1),
        ("bert", "multiple-choice", 2),
    ],
)
def test_losses_are_those_without_it(tiny, messages, name, task, blocks):
    data = {"ner": ENTITIES, "classification": messages, "generation": PAIRS, "multiple-choice": CHOICES}[task]
    plain, none = run(tiny, name, task, data, cache=False)
    cached, read = run(tiny, name, task, data, cache=True)
    assert (none, read) == (0, blocks)
    torch.testing.assert_close(cached, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["probe", "full", "bitfit", "layernorm", "bottleneck", "ia3", "prefix", "dora"])
def test_every_method_has_it(tiny, method):
    options = {"method": method, "layers": None if method == "probe" else "last:1"}
    plain, _ = run(tiny, "bert", "ner", ENTITIES, cache=False, **options)
    cached, read = run(tiny, "bert", "ner", ENTITIES, cache=True, **options)
    assert read == (3 if method == "probe" else 2)
    torch.testing.assert_close(cached, plain, rtol=1e-4, atol=1e-5)


def test_it_saves_the_work(tiny):
    """From the second epoch on, the frozen blocks are not computed."""
    adapted = la.adapt(tiny("bert"), "ner", layers="last:1")
    attention = adapted.model.bert.encoder.layer[0].attention
    calls: list[int] = []
    attention.register_forward_hook(lambda *_: calls.append(1))
    history = adapted.fit(ENTITIES, epochs=EPOCHS, recipe="standard", args={**QUIET, "per_device_train_batch_size": 6})
    assert history.steps == 4 * EPOCHS
    assert len(calls) == 4 + 3 + 2  # the first epoch, three more on the first batch to try it, and two on others


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("bert", {"layers": None}, "begins at the first block"),
        ("bert", {"method": "prompt", "layers": None}, "begins at the first block"),
        ("bert", {"base_dropout": True}, "other hidden states each time"),
        ("t5", {}, "hand on more than hidden states"),
    ],
)
def test_it_is_refused_where_it_cannot_be_exact(tiny, name, options, reason):
    task, data = ("generation", PAIRS) if name == "t5" else ("ner", ENTITIES)
    with pytest.raises(la.LightAdaptError, match=reason):
        run(tiny, name, task, data, cache=True, **options)
    _, read = run(tiny, name, task, data, cache="auto", **options)
    assert read == 0


@pytest.mark.usefixtures("plain_processor")
@pytest.mark.parametrize("method", ["lora", "probe"])
def test_a_model_that_reads_padding_is_refused(tmp_path, tokenizers, method):
    """FNet mixes all positions; the first batch may have no padding that would show it."""
    config = AutoConfig.for_model("fnet", **{key: SMALL[key] for key in FNET})
    AutoModel.from_config(config).save_pretrained(tmp_path)
    tokenizers("word").save_pretrained(tmp_path)
    equal = [record for record in ENTITIES if len(record["tokens"]) == 4]
    data, layers = [*equal * 20, ENTITIES[6]], None if method == "probe" else "last:1"
    with pytest.raises(la.LightAdaptError, match="change with what is beside it"):
        run(lambda _: tmp_path, "fnet", "ner", data, cache=True, method=method, layers=layers)


def test_a_forward_of_one_block_alone_stays(tiny):
    """Others hang their own on modules, as accelerate does to move weights."""
    adapted = la.adapt(tiny("bert"), "ner", layers="last:1")
    block = adapted.model.bert.encoder.layer[0]
    block.forward = own = partial(block.forward)
    assert adapted.fit(ENTITIES, epochs=2, cache=True, args=QUIET).settings["cached_blocks"] == 2
    assert vars(block)["forward"] is own


def test_a_wrong_word_is_refused(tiny):
    with pytest.raises(la.LightAdaptError, match="cache='fp16' is unknown"):
        run(tiny, "bert", "ner", ENTITIES, cache="fp16")


@pytest.mark.usefixtures("plain_processor")
def test_sixteen_bits_are_close(tiny):
    plain, _ = run(tiny, "bert", "ner", ENTITIES, cache=False)
    cached, read = run(tiny, "bert", "ner", ENTITIES, cache="bf16")
    assert read == 2
    assert not torch.equal(cached, plain)
    torch.testing.assert_close(cached, plain, rtol=2e-2, atol=2e-2)


def test_what_is_too_large_for_memory_goes_to_a_file(tiny, tmp_path, monkeypatch):
    plain, _ = run(tiny, "bert", "ner", ENTITIES, cache=False)
    monkeypatch.setattr(hidden_states, "SHARE", 0)
    mapped: list[tuple[str, int]] = []
    from_file = torch.from_file

    def note(name, *, size, **options):
        mapped.append((name, size))
        return from_file(name, size=size, **options)

    monkeypatch.setattr(torch, "from_file", note)
    cached, read = run(tiny, "bert", "ner", ENTITIES, cache=True, output_dir=tmp_path)
    tokens = sum(len(record["tokens"]) for record in ENTITIES)
    assert read == 2
    ((name, size),) = mapped
    assert name.startswith(str(tmp_path))
    assert size >= tokens * 32
    assert not list(tmp_path.rglob("lightadapt-trunk-*"))
    torch.testing.assert_close(cached, plain, rtol=1e-4, atol=1e-5)


def test_no_room_is_said(tiny, monkeypatch):
    monkeypatch.setattr(hidden_states, "SHARE", 0)
    monkeypatch.setattr(hidden_states.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(la.LightAdaptError, match="GB free"):
        run(tiny, "bert", "ner", ENTITIES, cache=True)


def test_resuming_in_the_middle_of_an_epoch(tiny, tmp_path):
    """A run that was cut short goes on to the weights of one that was not, with what it has to compute again."""
    args = {**QUIET, "per_device_train_batch_size": 6, "save_strategy": "steps", "save_steps": 3}

    def adapted():
        return la.adapt(tiny("bert"), "ner", layers="last:1")

    whole = adapted()
    whole.fit(ENTITIES, epochs=EPOCHS, args=args, output_dir=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        adapted().fit(ENTITIES, epochs=EPOCHS, args=args, output_dir=tmp_path / "cut", callbacks=[StopAt(6)])
    resumed = adapted()
    resumed.fit(ENTITIES, epochs=EPOCHS, args=args, output_dir=tmp_path / "cut", resume=True)
    for (name, one), (_, other) in zip(whole.model.named_parameters(), resumed.model.named_parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, msg=name)


def test_the_model_is_as_before_afterwards(tiny):
    adapted = la.adapt(tiny("bert"), "ner", layers="last:1")
    adapted.fit(ENTITIES, epochs=2, args=QUIET)
    block = adapted.model.bert.encoder.layer[0]
    assert "forward" not in vars(block)
    assert not block._forward_hooks


def test_a_trial_that_fails_ends_no_run(tiny, monkeypatch):
    def fail(*_):
        raise IndexError("tuple index out of range")

    monkeypatch.setattr(trunk_cache.TrunkCache, "_compare", fail)
    adapted = la.adapt(tiny("bert"), "ner", layers="last:1")
    history = adapted.fit(ENTITIES, epochs=2, args=QUIET)
    assert history.settings["cached_blocks"] == 0
    assert history.settings["not_cached"] == "Trying it failed (IndexError: tuple index out of range)."
    with pytest.raises(la.LightAdaptError, match=r"Trying it failed \(IndexError.* Write cache=False"):
        la.adapt(tiny("bert"), "ner", layers="last:1").fit(ENTITIES, epochs=2, cache=True, args=QUIET)
