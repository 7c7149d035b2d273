"""4-bit weights on processors for which bitsandbytes packs them at the first inference, or reads other scales."""

from __future__ import annotations

import copy

import bitsandbytes
import pytest
import torch
from bitsandbytes import functional
from bitsandbytes.nn import Linear4bit, Params4bit
from learned import as_learned
from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification, BertConfig, BertModel, BitsAndBytesConfig

import lightadapt as la
from lightadapt.base import four_bits
from lightadapt.base.quantized_modules import dequantized, is_quantized

SHAPES = [(64, 128), (96, 64), (32, 192)]
"""Of matrices that can be packed: rows in multiples of 32, columns in multiples of 64."""
UNEVEN = [(64, 48), (32, 32), (10, 96), (24, 1200), (312, 312)]
"""Rows that end within blocks of 64."""


def layer(rows, columns, *, nested=True, kind="nf4"):
    """A layer of bitsandbytes and the values that its weight stands for, found without any kernel."""
    torch.manual_seed(0)
    made = Linear4bit(columns, rows, bias=False, compute_dtype=torch.float32)
    weight = torch.randn(rows, columns) * torch.arange(1.0, rows + 1)[:, None]
    made.weight = Params4bit(weight, compress_statistics=nested, quant_type=kind, module=made).to("cpu")
    return made.eval(), values(made.weight)


def values(weight):
    state = weight.quant_state
    scales = state.absmax
    if state.nested:
        second = state.state2
        scales = second.code[scales.long()] * second.absmax.repeat_interleave(256)[: len(scales)] + state.offset
    packed = weight.data.view(torch.uint8).flatten()
    codes = torch.stack([packed >> 4, packed & 15], -1).flatten().long()
    return (state.code[codes] * scales.repeat_interleave(state.blocksize)[: len(codes)]).view(state.shape)


def compute_packed(inputs, packed, out=None, transposed_A=False, transposed_B=False, state=None):  # noqa: N803
    """What the kernel for packed weights does, in plain torch: products in bfloat16."""
    rows, columns = state.shape
    pairs = packed.reshape(-1, 32)
    codes = torch.cat([pairs & 15, pairs >> 4], -1).view(rows // 32, columns // 2, 32, 2).transpose(1, 2)
    weight = state.code[codes.reshape(rows, columns).long()].bfloat16() * state.absmax.T.repeat_interleave(64, 1)
    return (inputs.bfloat16() @ weight.T).to(inputs.dtype)


@pytest.fixture
def packs(monkeypatch):
    """A processor with AVX512-BF16, as bitsandbytes sees it; the number of weights that were packed."""
    count = []

    def pack(weight, state):
        count.append(tuple(state.shape))
        return functional._convert_weight_packed_for_cpu(weight, state)

    monkeypatch.setattr(bitsandbytes.nn.modules, "has_avx512bf16", lambda: True)
    monkeypatch.setattr(bitsandbytes.nn.modules, "_convert_weight_packed_for_cpu", pack)
    monkeypatch.setattr(functional, "gemv_4bit", compute_packed)
    return count


@pytest.fixture
def counts_by_rows():
    """A processor with AVX-512, on which bitsandbytes gives each row `columns // block` scales."""

    def read(packed, scales, block, kind, shape, dtype):
        rows, columns = shape[0], shape[-1]
        packed = packed.view(torch.uint8).flatten()
        codes = torch.stack([packed >> 4, packed & 15], -1).view(rows, columns).long()
        at = torch.arange(rows)[:, None] * (columns // block) + torch.arange(columns) // block
        if columns % 16:  # the plain kernel
            at = torch.arange(rows * columns).view(rows, columns) // block
        return (functional.get_4bit_type(kind, "cpu")[codes] * scales[at]).to(dtype).view(shape)

    four_bits.mended_kernel.cache_clear()
    library = torch.library.Library("bitsandbytes", "IMPL")
    library.impl("dequantize_4bit", read, "CPU", allow_override=True)
    yield
    mended = four_bits.mended_kernel()
    if mended is not None:
        mended._destroy()
    four_bits.mended_kernel.cache_clear()
    library._destroy()


@pytest.fixture(scope="module")
def even():
    """A backbone whose matrices can all be packed."""
    torch.manual_seed(1)
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    return BertModel(BertConfig(vocab_size=400, max_position_embeddings=66, **shape)).eval()


def packed_in(model):
    return [path for path, each in model.named_modules() if is_quantized(each) and is_packed(each)]


def is_packed(module):
    return getattr(getattr(module.weight, "quant_state", None), "packing_format_for_cpu", False)


# ---- the packing


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("saved", [False, True])
def test_packed_weights_are_unpacked_to_what_they_were(packs, shape, kind, nested, saved):
    made, expected = layer(*shape, nested=nested, kind=kind)
    codes = made.weight.data.clone()
    with torch.no_grad():
        made(torch.ones(1, shape[1]))
    assert packs == [shape]
    assert is_packed(made)
    if saved:
        made.state_dict()  # bitsandbytes unpacks by itself, but leaves the scales in another order
    four_bits.keep_trainable(made)
    assert not is_packed(made)
    assert torch.equal(made.weight.data, codes)
    # The packing rounds the scales to bfloat16, of which double quantization keeps a byte each.
    off = (dequantized(made).float() - expected).abs() / expected.abs().max()
    assert off.max() < (0.02 if nested else 0.003)
    with torch.no_grad():
        made(torch.ones(1, shape[1]))
    assert packs == [shape]


@pytest.mark.parametrize("shape", [*SHAPES, *UNEVEN])
def test_what_is_kept_trainable_is_not_packed_and_lets_gradients_through(packs, shape):
    made, expected = layer(*shape)
    four_bits.keep_trainable(made)
    inputs = torch.ones(1, shape[1])
    with torch.no_grad():
        torch.testing.assert_close(made(inputs), inputs @ expected.T, rtol=1e-4, atol=1e-3)
    for each in (made, copy.deepcopy(made)):
        wanting = torch.ones(1, shape[1], requires_grad=True)
        each(wanting).sum().backward()
        torch.testing.assert_close(wanting.grad, expected.sum(0, keepdim=True), rtol=1e-4, atol=1e-3)
    assert packs == []


@pytest.mark.parametrize(("shape", "able"), [*((each, True) for each in SHAPES), *((each, False) for each in UNEVEN)])
def test_the_shape_says_what_bitsandbytes_can_pack(packs, shape, able):
    made, _ = layer(*shape)
    assert four_bits.computed_alone(made) == able
    if able:
        made(torch.ones(1, shape[1]))
        assert packs == [shape]
    else:
        with pytest.raises((AssertionError, RuntimeError)):
            made(torch.ones(1, shape[1]))


# ---- the scales


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("shape", [*UNEVEN, (64, 128)])
def test_every_value_has_the_scale_of_its_block(counts_by_rows, shape, nested):
    made, expected = layer(*shape, nested=nested)
    wrong = shape[1] % 64 != 0 and shape[1] % 16 == 0
    assert torch.allclose(dequantized(made), expected, rtol=1e-5) != wrong
    assert four_bits.computed_alone(made) == (shape[1] % 64 == 0)
    four_bits.keep_trainable(made)
    torch.testing.assert_close(dequantized(made), expected, rtol=1e-5, atol=0)
    inputs = torch.ones(1, shape[1], requires_grad=True)
    made(inputs).sum().backward()
    torch.testing.assert_close(inputs.grad, expected.sum(0, keepdim=True), rtol=1e-4, atol=1e-3)


# ---- every way to an adaptation


def learned(adapted, records):
    """The losses of a few steps after an evaluation; every trained tensor must have moved."""
    adapted.evaluate(records)
    before = {name: each.clone() for name, each in adapted.model.named_parameters() if each.requires_grad}
    losses = [loss for _, loss in adapted.fit(records, epochs=4, batch_tokens=10**6, learning_rate=1e-2).losses]
    assert before
    assert not [name for name, each in adapted.model.named_parameters() if name in before and each.equal(before[name])]
    return losses


@pytest.mark.parametrize("width", ["even", "tiny"])
def test_no_path_to_an_adaptation_packs(packs, tiny, even, messages, tokenizers, tmp_path, width):
    base = even if width == "even" else AutoModel.from_pretrained(tiny("bert"))
    texts = [record["text"] for record in messages[:3]]
    adapted = la.adapt(base, "classification", labels=messages, quantize="4bit", tokenizer=tokenizers("word"))
    losses = learned(adapted, messages[:6])
    assert losses[-1] < losses[0]
    expected = adapted.predict(texts, scores=True)
    adapted.save(tmp_path / "saved")
    again = la.load(tmp_path / "saved", base=base)
    assert again.predict(texts, scores=True) == expected
    learned(again, messages[:6])
    adapted.add("second", task="ner", labels=messages)
    learned(adapted.use("second"), messages[:6])
    assert adapted.use("default").predict(texts, scores=True) == expected
    adapted.merge(base="dequantize")
    copy.deepcopy(adapted.model).eval()(**adapted.tokenizer(texts, return_tensors="pt", padding=True))
    assert packs == []


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("ready", [False, True])
def test_an_instance_that_was_evaluated_is_unpacked(packs, even, messages, tokenizers, tmp_path, ready, double):
    auto = AutoModelForSequenceClassification if ready else AutoModel
    even.save_pretrained(tmp_path)
    if ready:
        outputs = len({record["label"] for record in messages})
        auto.from_pretrained(tmp_path, num_labels=outputs).save_pretrained(tmp_path)
    how = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": double, "llm_int8_skip_modules": ["classifier"]}
    model = auto.from_pretrained(tmp_path, quantization_config=BitsAndBytesConfig(load_in_4bit=True, **how)).eval()
    path = next(path for path, each in model.named_modules() if is_quantized(each))
    expected = dequantized(model.get_submodule(path))
    batch = tokenizers("word")(["it is late"], return_tensors="pt")
    with torch.no_grad():
        model(**batch)
    assert packed_in(model)
    assert is_packed(model.get_submodule(path))
    done = len(packs)
    adapted = la.adapt(model, "classification", labels=messages, tokenizer=tokenizers("word"))
    assert (adapted.model is model) == ready
    losses = learned(adapted, messages[:6])
    assert losses[-1] < losses[0]
    assert len(packs) == done
    assert not packed_in(adapted.model)
    found = next(each for each in adapted.model.modules() if is_quantized(each))
    assert float((dequantized(found) - expected).norm() / expected.norm()) < 0.01


def test_a_merged_model_is_computed_by_bitsandbytes_alone(packs, tiny, messages, tokenizers, tmp_path):
    """Matrices of 32 and 48 columns, which it cannot pack, are left plain."""
    adapted = la.adapt(tiny("bert"), "classification", labels=messages, quantize="4bit", dtype="float32")
    with pytest.warns(UserWarning, match="was folded into 4bit weights"):
        merged = as_learned(adapted).merge(base="quantized", max_drift=1)
    assert not [path for path, each in merged.named_modules() if is_quantized(each)]
    merged.save_pretrained(tmp_path)
    again = type(merged).from_pretrained(tmp_path)
    assert isinstance(again.bert.encoder.layer[0].output.dense, nn.Linear)
    batch = tokenizers("word")(["it is late"], return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(**batch).logits, merged(**batch).logits)
    assert packs == []
