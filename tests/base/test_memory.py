"""The bytes that training takes: told from a config alone, they are those of the real model."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig, BitsAndBytesConfig, LlamaConfig
from typer.testing import CliRunner

import lightadapt as la
from lightadapt.anatomy.dry_run import text_inputs
from lightadapt.base.memory import _Meter, as_size
from lightadapt.base.quantization import Quantization
from lightadapt.base.quantized_modules import quantize_modules, size_of_packed
from lightadapt.cli import app

TOKENS = 512
TASKS = {"bert": "ner", "deberta-v2": "classification", "llama": "generation", "gpt2": "generation", "t5": "generation"}


def real_peak(adapted: la.Adapted) -> int:
    """The bytes of the weights, of AdamW's state, and the most that a step of `TOKENS` tokens makes beside them."""
    model = adapted.model.train()
    sides = 2 if model.config.is_encoder_decoder else 1
    length = min(64, TOKENS)
    inputs = next(text_inputs(model, rows=TOKENS // (sides * length), length=length, decoder_length=length))
    inputs["attention_mask"][-1, -1] = 0
    ids = inputs["input_ids"]
    labels = {"classification": torch.zeros(len(ids), dtype=torch.long), "ner": torch.zeros_like(ids)}
    meter = _Meter([*model.parameters(), *model.buffers()])
    objective = adapted.task.objective([], adapted.runner.view) or (lambda model, batch: model(**batch).loss)
    with meter:
        objective(model, {**inputs, "labels": labels.get(adapted.task.name, ids)}).backward()
    memory = adapted.runner.adaptation.memory()
    return memory.weights + memory.optimizer + meter.peak


@pytest.mark.parametrize(
    ("name", "method", "quantize"),
    [
        ("bert", "lora", None),
        ("bert", "prefix", "8bit"),
        ("deberta-v2", "bottleneck", "4bit"),
        ("llama", "lora", "4bit"),
        ("llama", "prefix", None),
        ("gpt2", "lora", "8bit"),
        ("t5", "lora", "4bit"),
        ("t5", "bottleneck", None),
    ],
)
def test_the_estimate_is_what_a_step_takes(tiny, plain_processor, monkeypatch, name, method, quantize):
    monkeypatch.setattr("lightadapt.base.memory.LENGTH", 64)
    labels = None if TASKS[name] == "generation" else ["a", "b", "c"]
    adapted = la.adapt(tiny(name), TASKS[name], method, labels=labels, quantize=quantize)
    task = adapted.task
    found = la.inspect(tiny(name), task=task, method=method, quantize=quantize, device="cpu", batch_tokens=TOKENS)
    assert found.memory is not None
    assert found.memory.peak == pytest.approx(real_peak(adapted), rel=0.1)


@pytest.mark.parametrize(
    ("name", "quantize"), [("bert", "4bit"), ("deberta-v2", None), ("llama", "8bit"), ("gpt2", "8bit"), ("t5", "4bit")]
)
def test_weights_are_counted_as_they_are(tiny, name, quantize):
    labels = None if TASKS[name] == "generation" else ["a", "b"]
    adapted = la.adapt(tiny(name), TASKS[name], "lora", labels=labels, quantize=quantize)
    found = la.inspect(tiny(name), task=adapted.task, method="lora", quantize=quantize, device="cpu").memory
    assert found == adapted.runner.adaptation.memory()
    assert quantize is None or quantize in found.base


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("name", ["4bit", "8bit"])
@pytest.mark.parametrize("shape", [(32, 48), (64, 64), (100, 33), (384, 1536)])
def test_packed_size_is_the_size_of_packed_weights(name, double, shape):
    settings = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": double} if name == "4bit" else {}
    quantization = Quantization(name, settings)
    holder = nn.Module()
    holder.layer = nn.Linear(*reversed(shape))
    quantize_modules(holder, ["layer"], quantization, torch.float32)
    assert size_of_packed(holder.layer) == (name, quantization.packed_size(shape))


def test_bits_of_a_value():
    """4.127 bits with double quantization (Dettmers et al. 2023), 4.5 without."""
    shape, values = (4096, 4096), 4096**2
    assert 8 * Quantization.named("4bit").packed_size(shape) / values == pytest.approx(4.127, abs=1e-3)
    assert 8 * Quantization("4bit", {"bnb_4bit_quant_type": "nf4"}).packed_size(shape) / values == 4.5
    assert 8 * Quantization.named("8bit").packed_size(shape) / values == pytest.approx(8.008, abs=1e-3)


@pytest.mark.parametrize(("name", "most"), [("4bit", 0.14), ("8bit", 0.27)])
def test_share_of_float32(name, most):
    anatomy = la.inspect(LlamaConfig(num_hidden_layers=1)).anatomy
    assert len(anatomy.blocks[0].linears) == 7
    for path in anatomy.blocks[0].linears:
        columns, rows = anatomy.linears[path]
        assert Quantization.named(name).packed_size((rows, columns)) <= most * 4 * rows * columns


def test_a_model_of_eight_billion_parameters_is_counted_without_weights():
    config = LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
    )
    base = la.inspect(config, task="generation", method="lora", dtype="bfloat16", quantize="4bit").memory.base
    linears = 32 * 218_103_808
    assert base["4bit"] == pytest.approx(linears * 4.127 / 8, rel=1e-3)
    assert base["bfloat16"] == 2 * (8_030_261_248 - linears)


def test_half_precision_without_a_gpu_is_planned_for_one(plain_processor):
    """`device="cuda"` need not be there: its number format is bfloat16, and attention is fused with dropout in it."""
    on_gpu, on_cpu = (
        la.inspect(BertConfig(num_hidden_layers=1), method="lora", device=device, batch_tokens=256).memory
        for device in ("cuda", "cpu")
    )
    assert set(on_gpu.base) == {"bfloat16"}
    assert set(on_cpu.base) == {"float32"}
    assert on_gpu.step < on_cpu.step


def test_full_trains_everything_and_pays_for_it():
    config = BertConfig(num_hidden_layers=1)
    full = la.inspect(config, method="full", device="cpu", batch_tokens=16).memory
    assert full.base == {}
    assert full.weights == 4 * la.inspect(config).total
    assert full.optimizer == 2 * full.weights
    assert full.step >= full.weights  # the gradients


def test_printed_by_inspect_and_by_the_model(tiny, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    command = ["inspect", str(tiny("bert")), "--quantize", "4bit", "--device", "cpu"]
    listed = CliRunner().invoke(app, [*command, "--batch-tokens", "64"])
    assert listed.exit_code == 0, listed.output
    assert "4bit" in listed.output
    assert "the peak of memory" in listed.output
    assert "refused: Method Full() changes the weights themselves" in listed.output
    one = CliRunner().invoke(app, [*command, "--method", "lora", "--batch-tokens", "64"])
    assert "for a step of 64 tokens" in one.output
    shown = str(la.adapt(tiny("bert"), "ner", labels=["X"], quantize="4bit"))
    assert "4bit (nf4 with double quantization)" in shown
    assert "state of AdamW" in shown


def test_parameters_are_counted_before_they_were_packed(tiny):
    plain, packed = (str(la.adapt(tiny("bert"), "ner", labels=["X"], quantize=each)) for each in (None, "4bit"))
    assert [line for line in plain.splitlines() if line.startswith("trainable")] == [
        line for line in packed.splitlines() if line.startswith("trainable")
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_tokens": 0}, "give a whole number from 1 to 4,194,304"),
        ({"batch_tokens": 1.5}, "give a whole number from 1"),
        ({"batch_tokens": 10**9}, "give a whole number from 1"),
        ({"quantize": "4bit", "device": "mps", "method": "lora"}, "not supported on device 'mps'"),
        ({"quantize": "4bits"}, "Did you mean '4bit'?"),
        ({"quantize": "4bit", "method": "full"}, "changes the weights themselves"),
        ({"quantize": "8bit", "method": "dora"}, "does not work on 8bit"),
        ({"device": "gpu"}, "device='gpu' is unknown"),
        ({"dtype": "bf17"}, "dtype='bf17' is unknown"),
    ],
)
def test_bad_questions(options, message):
    with pytest.raises(la.LightAdaptError) as caught:
        la.inspect(BertConfig(num_hidden_layers=1, hidden_size=48, intermediate_size=96), **options)
    assert message in str(caught.value)


def test_a_step_that_cannot_be_run_is_said_to_be_unknown(monkeypatch):
    monkeypatch.setattr("lightadapt.base.memory._run_step", lambda *_, **__: 1 / 0)
    found = la.inspect(BertConfig(num_hidden_layers=1), method="lora", batch_tokens=16)
    assert found.memory.peak is None
    assert "not known" in str(found)


def test_sizes_in_words():
    assert [as_size(count) for count in (512, 2**20, 5 * 2**30)] == ["0.5 KiB", "1.0 MiB", "5.00 GiB"]


def test_mixtures_of_experts_keep_their_experts_as_they_are(plain_processor):
    config = AutoConfig.for_model("mixtral", num_hidden_layers=1, hidden_size=64, intermediate_size=96, vocab_size=99)
    base = la.inspect(config, task="generation", method="bottleneck", quantize="4bit", device="cpu").memory.base
    assert base["float32"] > base["4bit"]


def test_a_checkpoint_that_is_quantized_is_seen_to_be(tiny, tmp_path):
    config = BitsAndBytesConfig(load_in_4bit=True)
    AutoModel.from_pretrained(tiny("bert"), quantization_config=config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny("bert")).save_pretrained(tmp_path)
    found = la.inspect(tmp_path, task="ner", method="lora", device="cpu")
    assert found.memory.base == la.adapt(tmp_path, "ner", labels=["A"]).runner.adaptation.memory().base
    assert "4bit" in found.memory.base
    assert la.inspect(tmp_path).methods["full"].startswith("Method Full() changes the weights")
    with pytest.raises(la.LightAdaptError, match="quantized already"):
        la.inspect(tmp_path, quantize="8bit")


@pytest.mark.parametrize(
    ("name", "task", "method"), [("bert", "multiple-choice", "lora"), ("bert", "ner", la.Prompt(length=20))]
)
def test_steps_of_other_shapes(tiny, name, task, method):
    memory = la.inspect(tiny(name), task=task, method=method, device="cpu", batch_tokens=128).memory
    assert memory.unknown == ""
    assert memory.step > 0


def test_a_head_alone_is_refused_where_there_is_none(tiny):
    with pytest.raises(la.LightAdaptError, match="trains a head alone"):
        la.inspect(tiny("t5"), task="summarization", method="probe")
