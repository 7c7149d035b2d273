"""Which adapters compute: ordered sets, set without a word about what is trained."""

from __future__ import annotations

import pytest
import torch

import lightadapt as la
from lightadapt.peft_bridge import Adapter, activate, active_in
from lightadapt.peft_bridge.layers import layers_in
from tests.peft_bridge.test_adapter import METHODS, SHARING, give, logits, plain_model


def module_below(adapter: Adapter):
    """The first layer of an adapter, and the module on whose output it works."""
    layer = adapter.layers[0]
    return layer, (layer.host if hasattr(layer, "host") else layer)


def pair(method: str | la.Method):
    """A model with two adapters of a method, and the first module that they work on."""
    model = plain_model()
    give(model, "a", method)
    adapter = give(model, "b", method, seed=2)
    return model, *module_below(adapter)


@pytest.mark.parametrize("method", METHODS)
def test_activate_leaves_what_is_trained_alone(method):
    model = plain_model()
    give(model, "a", method)
    if method in SHARING:
        give(model, "b", method)
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 3 == 0)
    before = [parameter.requires_grad for parameter in model.parameters()]
    for names in (("a",), (), ("b",), ("a",)):
        activate(model, names)
        assert [parameter.requires_grad for parameter in model.parameters()] == before


@pytest.mark.parametrize("method", SHARING)
def test_each_computes_as_it_does_alone(method):
    model = plain_model()
    plain = logits(model)
    give(model, "a", method)
    alone = logits(model)
    give(model, "b", method, seed=2)
    other = logits(model)
    assert not torch.equal(alone, other)
    for names, expected in ((("a",), alone), ((), plain), (("b",), other), (("unknown",), plain), (("a",), alone)):
        activate(model, names)
        assert torch.equal(logits(model), expected)
        for layer in layers_in(model):
            assert active_in(layer) == tuple(name for name in names if name != "unknown")


@pytest.mark.parametrize("method", ["lora", "bitfit"])
def test_what_adds_to_an_output_adds_up(method):
    model, _, module = pair(method)
    inputs, given = torch.randn(2, 3, 16), {}
    for names in ((), ("a",), ("b",), ("a", "b"), ("b", "a")):
        activate(model, names)
        given[names] = module(inputs)
    expected = given[("a",)] + given[("b",)] - given[()]
    assert not torch.allclose(given[("a",)], given[("a", "b")])
    for names in (("a", "b"), ("b", "a")):
        torch.testing.assert_close(given[names], expected)


def test_bottlenecks_read_what_the_one_before_gives():
    model, layer, host = pair("bottleneck")
    hidden = torch.randn(2, 3, 16)
    hook = next(iter(host._forward_hooks.values()))
    given = {}
    for names in (("a", "b"), ("b", "a")):
        activate(model, names)
        given[names] = hook(host, (), {}, hidden)
    for first, second in given:
        between = hidden + layer(hidden, first)
        assert torch.equal(given[first, second], between + layer(between, second))
    assert not torch.allclose(given["a", "b"], given["b", "a"])


def test_parallel_bottlenecks_add_up():
    model, layer, host = pair("parallel")
    hidden, source = torch.randn(2, 3, 16), torch.randn(2, 3, 16)
    hook = next(iter(host._forward_hooks.values()))
    activate(model, ("a", "b"))
    layer._input = source
    assert torch.equal(hook(host, (source,), {}, hidden), hidden + layer(source, "a") + layer(source, "b"))
    assert layer._input is None


@pytest.mark.parametrize("kind", [la.Prefix, la.Prompt])
def test_two_of_them_are_one_that_is_as_long(kind):
    model = plain_model()
    short = [give(model, name, kind(length=4), seed) for seed, name in enumerate(("a", "b"))]
    long = give(model, "long", kind(length=8))
    long.load_tensors(
        {
            key: torch.cat([each.tensors()[key] for each in short], 1 if kind is la.Prefix else 0)
            for key in long.tensors()
        }
    )
    expected = logits(model)
    activate(model, ("b",))
    assert not torch.allclose(logits(model), expected)
    activate(model, ("a", "b"))
    torch.testing.assert_close(logits(model), expected)


def test_of_different_methods_each_layer_applies_its_own():
    model = plain_model()
    give(model, "a", "lora")
    give(model, "b", "bitfit")
    activate(model, ("a", "b"))
    together = logits(model)
    kinds = {names for layer in layers_in(model) for names in [active_in(layer)]}
    assert kinds == {("a",), ("b",)}
    Adapter(model, "b").remove()
    assert not torch.equal(logits(model), together)
    activate(model, ("a",))
    alone = logits(model)
    give(model, "b", "bitfit")
    activate(model, ("a", "b"))
    torch.testing.assert_close(logits(model), together)
    assert not torch.equal(alone, together)


@pytest.mark.parametrize("other", ["layernorm", "bitfit"])
def test_a_norm_of_its_own_computes_alone(other):
    model = plain_model()
    give(model, "a", other)
    give(model, "b", "layernorm")
    activate(model, ("a",))
    expected = logits(model)
    with pytest.raises(la.LightAdaptError, match="cannot compute together"):
        activate(model, ("a", "b"))
    assert torch.equal(logits(model), expected)


def test_a_lora_that_computes_alone_is_the_lean_one(monkeypatch):
    """Two of them are PEFT's to sum."""
    from lightadapt.peft_bridge import lean_lora

    model, layer, _ = pair("lora")
    inputs = torch.randn(2, 3, layer.in_features)
    assert lean_lora.lean_adapter(layer, inputs, (), {}) == "b"
    activate(model, ("a", "b"))
    assert lean_lora.lean_adapter(layer, inputs, (), {}) is None
    activate(model, ())
    assert lean_lora.lean_adapter(layer, inputs, (), {}) is None
