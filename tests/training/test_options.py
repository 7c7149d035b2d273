"""Options of `fit` that trade time for memory, or time now for time later: with every method, they change no result."""

from __future__ import annotations

import json
import shutil
import warnings
from collections import Counter

import peft
import pytest
import torch
from tiny_models import save_model
from torch import nn
from torch._dynamo.utils import counters
from transformers import TrainerCallback, TrainingArguments

import lightadapt as la
from lightadapt.methods import NAMES
from lightadapt.training import recomputing
from lightadapt.training.compiling import compiled
from lightadapt.training.settings import read_settings

METHODS = {
    **{name: name for name in NAMES},
    "vera": "vera",
    "loha": "loha",
    "oft": "oft",
    "adalora": "adalora",
    "LoraConfig": peft.LoraConfig(r=4, use_rslora=True),
    "pissa": peft.LoraConfig(r=4, init_lora_weights="pissa"),
}
MODELS = {"bert": "classification", "llama": "generation", "t5": "generation"}
"""An encoder, a decoder and an encoder-decoder, with what they learn here."""
EIGHT_BITS = ("adamw8bit", "paged_adamw8bit")


@pytest.fixture(scope="module")
def steady(tiny, tmp_path_factory):
    """The folder of a tiny model without dropout, so that two runs can be compared."""
    root = tmp_path_factory.mktemp("steady")

    def make(name, **changes):
        folder = root / "-".join([name, *(f"{key}={value}" for key, value in changes.items())])
        if not folder.exists():
            shutil.copytree(tiny(name), folder)
            save_model(name, folder, **changes)
            config = json.loads((folder / "config.json").read_text())
            off = {key: 0.0 for key, value in config.items() if "drop" in key and isinstance(value, float)}
            (folder / "config.json").write_text(json.dumps(config | off))
        return folder

    return make


@pytest.fixture
def make(steady, messages):
    """A tiny model with a method, and records that it can learn."""

    def build(name, method="lora", changes=None, **options):
        records = messages[:24]
        if MODELS[name] == "classification":
            options["labels"] = messages
        else:
            records = [{"prompt": record["text"], "completion": record["label"]} for record in records]
        return la.adapt(steady(name, **(changes or {})), MODELS[name], method, **options), records

    return build


class Gradients(TrainerCallback):
    """The gradients of every step."""

    def __init__(self):
        self.steps = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.steps.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})


def same(steps, others):
    assert len(steps) == len(others) == 3
    # AdamW makes as much of noise as of a gradient where the true one is zero: weights are not compared, and of the
    # gradients of later steps, the smallest differ by what the first steps made of rounding.
    torch.testing.assert_close(steps, others, atol=1e-5, rtol=1e-3)


def learn(adapted, records, **options):
    """The losses of three steps."""
    args = {"max_steps": 3, "logging_steps": 1, "disable_tqdm": True, **options.pop("args", {})}
    return [loss for _, loss in adapted.fit(records, batch_tokens=120, args=args, **options).losses]


def state(adapted):
    return {name: value.clone() for name, value in adapted.model.state_dict().items()}


def blocks_of(adapted):
    """By block, a module inside it."""
    blocks = adapted.runner.adaptation.base.blueprint.anatomy.blocks
    return {block.path: adapted.model.get_submodule(block.linears[0]) for block in blocks}


def count_calls(adapted):
    """How often each block computes from now on."""
    counts = Counter()
    for path, module in blocks_of(adapted).items():
        module.register_forward_hook(lambda *_, path=path: counts.update([path]))
    return counts


# ---- checkpointed activations


@pytest.mark.usefixtures("plain_processor")
@pytest.mark.parametrize(
    ("name", "method"),
    [
        *(("bert", method) for method in METHODS),
        *((name, method) for name in ("llama", "t5") for method in ("lora", "prefix", "bottleneck", "ia3", "prompt")),
    ],
)
def test_checkpointing_changes_no_result(make, name, method):
    results = []
    for checkpointed in (False, True):
        adapted, records = make(name, METHODS[method])
        counts = count_calls(adapted)
        gradients = Gradients()
        losses = learn(adapted, records, args={"gradient_checkpointing": checkpointed}, callbacks=gradients)
        results.append((losses, gradients.steps, counts))
    (losses, steps, once), (again, others, twice) = results
    assert again == pytest.approx(losses, rel=1e-5)
    same(others, steps)
    times = 1 if method == "probe" else 2  # blocks that nothing learns in or below have no way back to prepare
    assert twice == Counter({path: times * count for path, count in once.items()})
    assert set(once.values()) == {3}


@pytest.mark.parametrize(("name", "lower"), [("bert", 2), ("llama", 2), ("t5", 1)])
def test_blocks_below_all_that_learns_are_not_computed_twice(make, name, lower):
    adapted, records = make(name, layers="last:1")  # of an encoder-decoder, the last one of either
    counts = count_calls(adapted)
    learn(adapted, records, args={"activation_checkpointing": True})
    paths = list(blocks_of(adapted))
    assert counts == Counter({**dict.fromkeys(paths[:lower], 3), **dict.fromkeys(paths[lower:], 6)})


@pytest.mark.parametrize("options", [{"use_reentrant": True}, {"use_reentrant": False}, {"every_n_layers": 2}])
def test_kinds_of_checkpointing(make, options):
    adapted, records = make("bert")
    counts = count_calls(adapted)
    args = {"activation_checkpointing": True, "activation_checkpointing_kwargs": options}
    gradients, others = Gradients(), Gradients()
    again = learn(adapted, records, args=args, callbacks=gradients)
    plain, _ = make("bert")
    assert again == pytest.approx(learn(plain, records, callbacks=others), rel=1e-5)
    same(gradients.steps, others.steps)
    assert list(counts.values()) == ([6, 3, 6] if "every_n_layers" in options else [6, 6, 6])


@pytest.mark.parametrize("name", ["gradient_checkpointing", "activation_checkpointing"])
def test_both_names_are_taken_without_a_warning(make, name):
    adapted, records = make("bert")
    counts = count_calls(adapted)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learn(adapted, records, args={name: True, f"{name}_kwargs": {"use_reentrant": False}})
    assert set(counts.values()) == {6}


def test_checkpointing_from_an_object_of_arguments(make, tmp_path):
    adapted, records = make("bert")
    counts = count_calls(adapted)
    adapted.fit(records, cache=False, args=TrainingArguments(str(tmp_path), max_steps=3, **{recomputing.NAME: True}))
    assert set(counts.values()) == {6}


def test_two_names_with_two_values_are_refused():
    given = {"gradient_checkpointing": True, "activation_checkpointing": False}
    settings = {"epochs": None, "learning_rate": None, "batch_tokens": None, "early_stopping": None}
    with pytest.raises(la.LightAdaptError, match=f"{recomputing.NAME} is given twice"):
        read_settings(
            given,
            **settings,
            resume=False,
            output_dir=None,
            optimizer=None,
            cache="auto",
            base_dropout=False,
            validates=False,
        )


def test_checkpointing_ends_with_the_run(make):
    adapted, records = make("bert")
    learn(adapted, records, args={"activation_checkpointing": True})
    assert not recomputing.is_on(adapted.model)
    assert not adapted.model.get_input_embeddings()._forward_hooks
    counts = count_calls(adapted)
    learn(adapted, records)
    assert set(counts.values()) == {3}


def test_checkpointing_that_was_switched_on_before_stays_on(make):
    adapted, records = make("bert")
    getattr(adapted.model, f"{recomputing.NAME}_enable")()
    learn(adapted, records)
    assert recomputing.is_on(adapted.model)


# ---- optimizers


class Watch(TrainerCallback):
    """Notes the number formats of an optimizer's state."""

    def on_step_end(self, args, state, control, optimizer=None, **kwargs):
        values = [value for entry in optimizer.state.values() for value in entry.values() if torch.is_tensor(value)]
        self.dtypes = {value.dtype for value in values if value.numel() >= 4096}


@pytest.mark.parametrize(
    ("method", "optimizer"), [*((method, "adamw8bit") for method in METHODS), ("lora", "paged_adamw8bit")]
)
def test_every_method_learns_with_a_state_of_8_bits(make, method, optimizer):
    pytest.importorskip("bitsandbytes")
    losses = {}
    for kind in ("adamw", optimizer):
        adapted, records = make("bert", METHODS[method])
        before = state(adapted)
        losses[kind] = learn(adapted, records, optimizer=kind)
        after = state(adapted)
        assert any(not torch.equal(before[name], after[name]) for name in adapted.runner.adaptation.all_trained)
    assert losses[optimizer] == pytest.approx(losses["adamw"], rel=0.02)


@pytest.mark.parametrize("optimizer", EIGHT_BITS)
def test_matrices_from_4096_values_have_a_state_of_8_bits(make, optimizer):
    pytest.importorskip("bitsandbytes")
    adapted, records = make("bert", la.Prefix(length=128))
    watch = Watch()
    learn(adapted, records, optimizer=optimizer, callbacks=watch)
    assert (
        torch.uint8 in watch.dtypes
    )  # bitsandbytes takes some for embeddings, by the address of those of a model before


# ---- torch.compile


def blocks(name, count):
    """Few blocks, since each costs seconds; two show that they share what is compiled."""
    return {"num_layers": 1} if name == "t5" else {"num_hidden_layers": count}  # T5: one, and one to write


def compare(make, name, method, backend, *, count=2, args=None, **options):
    """What a compiled run found, after checking that it is what a plain one does."""
    gradients, others = Gradients(), Gradients()
    options["changes"] = blocks(name, count)
    plain, records = make(name, method, **options)
    losses = learn(plain, records, callbacks=others)
    adapted, _ = make(name, method, **options)
    names = list(adapted.model.state_dict())
    counters.clear()
    args = {"torch_compile": True, "torch_compile_backend": backend, **(args or {})}
    found = learn(adapted, records, callbacks=gradients, args=args)
    assert found == pytest.approx(losses, rel=1e-5)
    same(gradients.steps, others.steps)
    assert list(adapted.model.state_dict()) == names
    assert not any(module._compiled_call_impl for module in adapted.model.modules())
    inputs = [record.get("text") or record["prompt"] for record in records[:3]]
    assert adapted.predict(inputs) == plain.predict(inputs)
    return adapted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "method", "layers"),
    [
        ("bert", "prefix", None),
        ("bert", "bottleneck", "last:1"),
        ("llama", "parallel", None),
        ("t5", "lora", None),
    ],
)
def test_compiled_blocks_change_no_result(make, name, method, layers):
    compare(make, name, method, "eager", layers=layers)
    assert 0 < counters["stats"]["unique_graphs"] <= 12  # however many the batches are, and their shapes
    assert not counters["graph_break"]


@pytest.mark.slow
def test_compiled_and_checkpointed(make):
    compare(make, "bert", "lora", "eager", args={"activation_checkpointing": True})


@pytest.mark.slow
def test_compiled_on_quantized_weights(make):
    pytest.importorskip("bitsandbytes")
    compare(make, "llama", "lora", "eager", quantize="4bit", layers="last:1")


@pytest.mark.slow
def test_evaluation_inside_a_compiled_run_is_not_compiled(make, tmp_path):
    adapted, records = make("llama", layers="last:1")
    args = {"torch_compile_backend": "eager", "max_steps": 2, "eval_strategy": "steps", "eval_steps": 1}
    args |= {"save_strategy": "steps", "save_steps": 1}
    counters.clear()
    history = adapted.fit(records, records[:2], batch_tokens=10**6, args=args, output_dir=tmp_path)
    assert len(history.epochs) == 2
    assert 0 < counters["stats"]["unique_graphs"] <= 3  # two texts of many tokens each were written beside it
    assert la.load(tmp_path / "checkpoint-2").evaluate(records[:2]) == adapted.evaluate(records[:2])


def test_a_hook_on_one_of_two_blocks_alike_is_seen():
    plain, hooked = nn.Linear(4, 4), nn.Linear(4, 4)
    hooked.register_forward_hook(lambda module, args, output: 100 * output)
    inputs = torch.ones(2, 4)
    expected = hooked(inputs)
    with compiled([plain, hooked], {"backend": "eager", "mode": None}):
        plain(inputs)
        torch.testing.assert_close(hooked(inputs), expected)
        assert counters["stats"]["unique_graphs"] > 0


@pytest.mark.slow
@pytest.mark.usefixtures("plain_processor")  # what inductor joins is not rounded to bfloat16 in between
@pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler for the CPU")
def test_compiled_by_inductor(make):
    compare(make, "bert", "lora", None, count=1)


def test_a_backend_that_torch_does_not_have(make):
    adapted, records = make("bert")
    with pytest.raises(
        la.LightAdaptError, match=r"torch_compile_backend='inductr' is unknown. Did you mean 'inductor'"
    ):
        learn(adapted, records, args={"torch_compile_backend": "inductr"})
