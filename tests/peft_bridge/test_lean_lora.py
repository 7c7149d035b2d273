"""LoRA with fewer kernels: values and gradients of PEFT's own forward, and PEFT itself wherever more is asked for."""

from __future__ import annotations

import copy

import pytest
import torch
from learned import as_learned, assert_equal
from peft.tuners import lora

import lightadapt as la
from lightadapt.peft_bridge.lean_lora import LeanLinear

ROWS = [[5, 6, 7, 8, 9, 10], [11, 12, 13, 0, 0, 0]]


def make(tiny, name: str = "bert", method: str | la.LoRA = "lora", **options):
    """An adapted model whose updates are not zero."""
    adapted = la.adapt(tiny(name), "classification", method, labels=["yes", "no"], **options)
    torch.manual_seed(0)
    for path, parameter in adapted.model.named_parameters():
        if "lora_B" in path:
            parameter.data.normal_(std=0.1)
    return adapted


def with_peft(model):
    """A copy of the model with PEFT's own layers."""
    model = copy.deepcopy(model)
    for layer in model.modules():
        if isinstance(layer, lora.LoraLayer):
            layer.__class__ = next(kind for kind in type(layer).__mro__ if kind.__module__.startswith("peft."))
    return model


def step(model) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    ids = torch.tensor(ROWS)
    loss = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=torch.tensor([0, 1])).loss
    model.zero_grad()
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_same(one, other, **tolerance) -> None:
    (loss, gradients), (expected, their_gradients) = step(one), step(other)
    torch.testing.assert_close(loss, expected, **tolerance)
    assert gradients.keys() == their_gradients.keys() != set()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, their_gradients[name], **tolerance, msg=name)


def lean_layers(model) -> list[LeanLinear]:
    return [layer for layer in model.modules() if isinstance(layer, LeanLinear)]


@pytest.mark.usefixtures("plain_processor")
@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "modernbert", "deberta-v2"])
@pytest.mark.parametrize("method", ["lora", "rslora", la.LoRA(rank=3, targets="attention")], ids=str)
def test_same_loss_and_gradients_as_peft(tiny, name, method):
    model = make(tiny, name, method).model
    assert lean_layers(model)
    assert_same(model, with_peft(model), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["dora", la.LoRA(dropout=0.5)], ids=str)
def test_what_is_more_than_the_formula_is_left_to_peft(tiny, method):
    model = make(tiny, method=method).model.eval()
    for path, module in model.named_modules():
        module.training = isinstance(module, LeanLinear) or "lora_dropout" in path
    theirs = with_peft(model)
    torch.manual_seed(3)
    ours = step(model)
    torch.manual_seed(3)
    expected = step(theirs)
    assert torch.equal(ours[0], expected[0])
    assert_equal(ours[1], expected[1])


@pytest.mark.usefixtures("plain_processor")
def test_a_forward_of_the_base_layer_alone_is_called(tiny):
    """As accelerate hangs one on layers whose weights it moves."""
    layer = lean_layers(make(tiny).model)[0]
    base, x = layer.base_layer, torch.randn(5, layer.in_features)
    expected = layer(x) + 1
    base.forward = lambda x: type(base).forward(base, x) + 1
    torch.testing.assert_close(layer(x), expected)


def test_half_precision_keeps_no_copies_in_float32(tiny):
    model = make(tiny, dtype="bfloat16").model
    layer = lean_layers(model)[0]
    x = torch.randn(5, layer.in_features).bfloat16().requires_grad_()
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        layer(x)
    assert not [tensor for tensor in kept if tensor.dtype == torch.float32 and tensor.shape == x.shape]
    assert_same(model, with_peft(model), rtol=0.1, atol=0.02)


def test_small_gradients_in_float16_reach_a(tiny):
    """The gradient of A goes through B, which is near zero: their product is below what float16 holds."""
    layer = lean_layers(make(tiny, dtype="float16").model)[0]
    layer.lora_B["default"].weight.data.mul_(1e-2)
    a, x = layer.lora_A["default"].weight, torch.randn(64, layer.in_features).half()
    gradients = []
    for size in (1, 2**-20):
        a.grad = None
        layer(x).backward(torch.full((64, layer.out_features), size, dtype=torch.float16))
        gradients.append(a.grad / size)
    torch.testing.assert_close(*gradients, rtol=1e-2, atol=1e-2)


@pytest.mark.usefixtures("plain_processor")
@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_quantized_layers_give_what_peft_gives(tiny, bits):
    pytest.importorskip("bitsandbytes")
    model = make(tiny, "llama", quantize=bits).model
    assert any(type(layer).__name__ == f"LeanLinear{bits}" for layer in model.modules())
    assert_same(model, with_peft(model), rtol=1e-3, atol=1e-5)


@pytest.mark.usefixtures("plain_processor")
def test_an_input_of_any_shape_and_one_that_needs_no_gradient(tiny):
    layer = lean_layers(make(tiny).model)[0]
    x = torch.randn(2, 3, 4, layer.in_features)
    expected = lora.Linear.forward(layer, x)
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer(x[0, 0, 0]), expected[0, 0, 0])
    torch.testing.assert_close(layer(x.transpose(0, 1)), expected.transpose(0, 1))
    assert layer(x[:0]).shape == (0, 3, 4, layer.out_features)
    layer(x).sum().backward()
    assert layer.lora_B["default"].weight.grad.abs().sum() > 0


@pytest.mark.usefixtures("plain_processor")
def test_switching_off_and_folding_are_peft_s(tiny):
    adapted = as_learned(make(tiny))
    ids = torch.tensor(ROWS)
    with torch.no_grad():
        on = adapted.model(input_ids=ids).logits
        with adapted.disable():
            off = adapted.model(input_ids=ids).logits
        torch.testing.assert_close(adapted.merge()(input_ids=ids).logits, on, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(on, off)


@pytest.mark.usefixtures("plain_processor")
def test_two_adapters_at_once_are_left_to_peft(tiny):
    layer = lean_layers(make(tiny).model)[0]
    layer.update_layer("second", 4, 8, config=copy.deepcopy(layer_config()))
    layer.set_adapter(["default", "second"])
    torch.nn.init.normal_(layer.lora_B["second"].weight)
    x = torch.randn(3, layer.in_features)
    torch.testing.assert_close(layer(x), lora.Linear.forward(layer, x))


def layer_config():
    from peft import LoraConfig

    return LoraConfig(r=4, lora_alpha=8)


@pytest.mark.usefixtures("plain_processor")
def test_a_layer_that_something_hangs_on_is_called(tiny):
    layer = lean_layers(make(tiny).model)[0]
    called: list[int] = []
    layer.base_layer.register_forward_hook(lambda *_: called.append(1))
    x = torch.randn(3, layer.in_features, requires_grad=True)
    torch.testing.assert_close(layer(x), lora.Linear.forward(layer, x))
    assert len(called) == 2


@pytest.mark.usefixtures("plain_processor")
def test_trained_biases_get_their_gradients(tiny):
    layer = lean_layers(make(tiny).model)[0]
    layer.base_layer.bias.requires_grad_(True)
    layer(torch.randn(3, layer.in_features)).sum().backward()
    torch.testing.assert_close(layer.base_layer.bias.grad, torch.full((layer.out_features,), 3.0))


@pytest.mark.usefixtures("plain_processor")
def test_stored_names_are_those_of_peft(tiny, tmp_path):
    """Stock PEFT reads the artifact and gives the same."""
    from peft import PeftModel

    adapted = make(tiny)
    adapted.save(tmp_path / "saved")
    from transformers import AutoModelForSequenceClassification

    base = AutoModelForSequenceClassification.from_pretrained(tiny("bert"), num_labels=2)
    stock = PeftModel.from_pretrained(base, tmp_path / "saved").eval()
    assert not lean_layers(stock)
    ids = torch.tensor(ROWS)
    torch.testing.assert_close(stock(input_ids=ids).logits, adapted.model(input_ids=ids).logits, rtol=1e-4, atol=1e-6)
