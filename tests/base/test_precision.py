"""The number format that `dtype="auto"` takes, and what comes with it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import lightadapt as la
from lightadapt.base import float_softmax, plain_attention
from lightadapt.machine.hardware import PRETENDED, computes_bfloat16, processor


@pytest.mark.parametrize("instructions", ["avx512_bf16", "amx_bf16", None])
def test_a_cpu_computes_bfloat16_where_it_has_instructions_for_it(monkeypatch, instructions):
    able = {**torch.cpu.get_capabilities(), "avx512_bf16": False, "amx_bf16": False}
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {**able, **({instructions: True} if instructions else {})}
    )
    monkeypatch.delenv(PRETENDED)
    assert computes_bfloat16(torch.device("cpu")) == (instructions is not None)
    assert processor() == ("bfloat16" if instructions else "plain")


@pytest.mark.parametrize("kind", ["plain", "bfloat16"])
def test_a_pretended_processor_is_that_of_child_processes_too(monkeypatch, kind):
    monkeypatch.setenv(PRETENDED, kind)
    script = """
import torch
from lightadapt.machine.hardware import computes_bfloat16
print(computes_bfloat16(torch.device("cpu")))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(kind == "bfloat16")
    assert str(computes_bfloat16(torch.device("cpu"))) == done.stdout.strip()


def test_an_unknown_processor_is_refused(monkeypatch):
    monkeypatch.setenv(PRETENDED, "bfloat61")
    with pytest.raises(la.LightAdaptError, match="Did you mean 'bfloat16'"):
        computes_bfloat16(torch.device("cpu"))


def test_float32_where_the_cpu_does_not_compute_bfloat16(tiny, plain_processor):
    model = la.adapt(tiny("bert"), "ner", device="cpu").model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config._attn_implementation == "sdpa"


def test_bfloat16_where_it_does(tiny, bfloat16_processor, messages):
    adapted = la.adapt(tiny("bert"), "classification", device="cpu", labels=messages)
    frozen = {parameter.dtype for parameter in adapted.model.parameters() if not parameter.requires_grad}
    trained = {parameter.dtype for parameter in adapted.model.parameters() if parameter.requires_grad}
    assert (frozen, trained) == ({torch.bfloat16}, {torch.float32})
    assert adapted.model.config._attn_implementation == float_softmax.NAME  # the fused kernel is slow backwards
    first = adapted.fit(messages, epochs=6, args={"disable_tqdm": True, "logging_steps": 1}).losses
    assert first[-1][1] < first[0][1]
    assert len(adapted.predict(["a text"])) == 1


def test_weights_that_are_trained_stay_in_float32(tiny, bfloat16_processor):
    model = la.adapt(tiny("bert"), "ner", "full", device="cpu").model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_attention_over_long_texts_keeps_its_kernel(tiny, bfloat16_processor, tmp_path):
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    config = AutoConfig.from_pretrained(tiny("bert"))
    config.max_position_embeddings = 4096
    AutoModel.from_config(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny("bert")).save_pretrained(tmp_path)
    assert la.adapt(tmp_path, "ner", device="cpu").model.config._attn_implementation == "sdpa"


def test_inspect_says_the_same(tiny, bfloat16_processor):
    assert "bfloat16" in str(la.inspect(tiny("bert"), task="ner", method="lora", device="cpu"))


def test_long_texts_are_predicted_with_the_kernel_that_is_fast_forwards(tiny, bfloat16_processor, monkeypatch):
    adapted = la.adapt(tiny("bert"), "classification", device="cpu", labels=["A", "B"])
    adapted.predict(["a text"])  # the first call tries more than one way
    kernels = []
    forward = type(adapted.model).forward

    def watched(model, *args, **inputs):
        kernels.append((inputs["input_ids"].shape[1] >= plain_attention.FUSED_FROM, model.config._attn_implementation))
        return forward(model, *args, **inputs)

    monkeypatch.setattr(type(adapted.model), "forward", watched)
    monkeypatch.setattr(plain_attention, "FUSED_FROM", 12)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    short, long = "a text", "a text " * 8
    found = adapted.predict([short, long], scores=True, batch_tokens=20)
    assert sorted(kernels) == [(False, float_softmax.NAME), (True, "sdpa")]
    assert adapted.model.config._attn_implementation == float_softmax.NAME
    monkeypatch.setattr(plain_attention, "FUSED_FROM", 1_000)
    plain = adapted.predict([long], scores=True)[0]
    assert found[1] == pytest.approx(plain, abs=0.02)


def test_who_chose_a_kernel_keeps_it(tiny, bfloat16_processor, monkeypatch):
    monkeypatch.setattr(plain_attention, "FUSED_FROM", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    adapted = la.adapt(tiny("bert"), "classification", device="cpu", labels=["A", "B"])
    adapted.model.set_attn_implementation("sdpa")
    adapted.predict(["a text"])
    assert adapted.model.config._attn_implementation == "sdpa"
