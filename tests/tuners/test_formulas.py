"""The layers of our own compute a few lines of torch, and go with generation."""

from __future__ import annotations

import math

import pytest
import torch
from inserted import BERT, INSERTING, LLAMA, build, shake, tokens
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    BertForSequenceClassification,
    LlamaForCausalLM,
)

import lightadapt as la
from lightadapt import peft_bridge
from lightadapt.tuners import BottleneckLayer, PrefixLayer


def reference_bottleneck(layer: BottleneckLayer, x):
    down, up = layer.down["default"], layer.up["default"]
    return torch.relu(x @ down.weight.T + down.bias) @ up.weight.T + up.bias


@pytest.mark.parametrize("placement", ["pfeiffer", "parallel"])
def test_bottleneck_equals_its_formula(placement):
    method = la.Bottleneck(placement=placement, width=5)
    model = shake(build(BertForSequenceClassification, BERT, method)).double()
    block = model.bert.encoder.layer[0]
    seen = {}
    block.intermediate.register_forward_pre_hook(lambda _, args: seen.update(x=args[0]))
    block.output.dense.register_forward_pre_hook(lambda _, args: seen.update(inner=args[0]))
    block.output.dense.register_forward_hook(lambda _, args, output: seen.update(output=output))
    model(input_ids=tokens())
    layer = block.output.dense.lightadapt_bottleneck_layer
    dense = block.output.dense
    plain = seen["inner"] @ dense.weight.T + dense.bias
    source = plain if placement == "pfeiffer" else seen["x"]
    expected = plain + reference_bottleneck(layer, source)
    torch.testing.assert_close(seen["output"], expected)
    parameters = [layer.down["default"].weight, layer.up["default"].weight]
    ours = torch.autograd.grad(seen["output"].sum(), parameters, retain_graph=True)
    torch.testing.assert_close(ours, torch.autograd.grad(expected.sum(), parameters))


def test_prefix_equals_its_formula():
    model = shake(build(LlamaForCausalLM, LLAMA, la.Prefix(length=3))).double()
    attention = model.model.layers[0].self_attn
    layer: PrefixLayer = attention.lightadapt_prefix_layer
    torch.manual_seed(3)
    query = torch.randn(1, 4, 5, 8, dtype=torch.double)
    key, value = torch.randn(2, 1, 2, 5, 8, dtype=torch.double)
    from lightadapt.tuners.prefix import _attend

    found, _ = _attend(attention, query, key, value, None, scaling=8**-0.5)
    keys, values = (
        torch.cat([prefix["default"][None], tensor], 2).repeat_interleave(2, 1)
        for prefix, tensor in ((layer.keys, key), (layer.values, value))
    )
    scores = query @ keys.transpose(-1, -2) / math.sqrt(8)
    visible = torch.cat([torch.ones(5, 3, dtype=torch.bool), torch.ones(5, 5, dtype=torch.bool).tril()], 1)
    weights = scores.masked_fill(~visible, -math.inf).softmax(-1)
    expected = (weights @ values).transpose(1, 2)
    torch.testing.assert_close(found, expected)
    parameters = [layer.keys["default"], layer.values["default"]]
    ours = torch.autograd.grad(found.square().sum(), parameters)
    torch.testing.assert_close(ours, torch.autograd.grad(expected.square().sum(), parameters))


@pytest.mark.parametrize("kind", ["deberta", "bloom", "xlnet", "funnel"])
def test_prefix_where_attention_is_written_out_equals_more_keys(kind):
    """A prefix changes the result; one that no query attends to does not."""
    options = {
        "deberta": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48},
        "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
        "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48},
        "funnel": {
            "d_model": 32,
            "n_head": 4,
            "d_head": 8,
            "d_inner": 48,
            "block_sizes": [1, 1],
            "num_decoder_layers": 1,
        },
    }[kind]
    config = AutoConfig.for_model(kind, vocab_size=99, **options)
    from transformers import AutoModel

    found = AutoModel._model_mapping[type(config)]
    model_class = found[0] if isinstance(found, tuple) else found
    model = build(model_class, config, "prefix")
    layers = [module for module in model.modules() if isinstance(module, PrefixLayer)]
    assert layers
    assert not any(layer.through_interface for layer in layers)
    peft_bridge.activate(model, ())
    plain = model(input_ids=tokens()).last_hidden_state
    peft_bridge.activate(model, ("default",))
    assert not torch.allclose(model(input_ids=tokens()).last_hidden_state, plain, atol=1e-6)
    with torch.no_grad():
        for layer in layers:
            layer.values["default"].zero_()
            layer.keys["default"].zero_()
    scaled = model(input_ids=tokens()).last_hidden_state
    assert scaled.isfinite().all()


@pytest.mark.parametrize("method", INSERTING)
@pytest.mark.parametrize("kind", ["llama", "gpt2", "t5"])
def test_generation_with_and_without_a_cache(kind, method):
    options = {
        "llama": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2},
        "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "pad_token_id": 0},
        "t5": {"d_model": 32, "num_layers": 2, "num_heads": 4, "d_kv": 8, "d_ff": 48, "decoder_start_token_id": 0},
    }[kind]
    config = AutoConfig.for_model(kind, **{**options, "vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2})
    auto = AutoModelForSeq2SeqLM if kind == "t5" else AutoModelForCausalLM
    model = shake(build(auto._model_mapping[type(config)], config, method), 0.3)
    inputs = {"input_ids": tokens(), "attention_mask": torch.ones_like(tokens())}
    if kind != "t5":  # left padding
        inputs["input_ids"] = inputs["input_ids"].index_fill(1, torch.tensor([0, 1]), 0)
        inputs["attention_mask"] = inputs["attention_mask"].index_fill(1, torch.tensor([0, 1]), 0)
    options = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}
    cached, uncached = (model.generate(**inputs, **options, use_cache=cache) for cache in (True, False))
    assert torch.equal(cached, uncached)
    beams = model.generate(**inputs, **options, num_beams=3)
    assert torch.equal(beams, model.generate(**inputs, **options, num_beams=3, use_cache=False))


def test_eager_and_sdpa_agree_with_a_prefix():
    results = []
    for implementation in ("sdpa", "eager"):
        model = shake(build(LlamaForCausalLM, LLAMA, "prefix"))
        model.set_attn_implementation(implementation)
        results.append(model(input_ids=tokens()).logits)
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-5)
