"""The number format that `dtype="auto"` takes, and what comes with it."""

from __future__ import annotations

import pytest
import torch

import lightadapt as la


@pytest.fixture(params=["avx512_bf16", "amx_bf16"])
def bfloat16_processor(monkeypatch, request):
    able = {**torch.cpu.get_capabilities(), request.param: True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)


def test_float32_where_the_cpu_does_not_compute_bfloat16(tiny):
    model = la.adapt(tiny("bert"), "ner", device="cpu").model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config._attn_implementation == "sdpa"


def test_bfloat16_where_it_does(tiny, bfloat16_processor, messages):
    adapted = la.adapt(tiny("bert"), "classification", device="cpu", labels=messages)
    frozen = {parameter.dtype for parameter in adapted.model.parameters() if not parameter.requires_grad}
    trained = {parameter.dtype for parameter in adapted.model.parameters() if parameter.requires_grad}
    assert (frozen, trained) == ({torch.bfloat16}, {torch.float32})
    assert adapted.model.config._attn_implementation == "eager"  # the fused kernel is slow backwards
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
