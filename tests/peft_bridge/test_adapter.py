"""An adapter in a model: what it is made of, and a model that forgets it, or calls it by another name."""

from __future__ import annotations

import copy
import json
import sys
from functools import cache

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

import lightadapt as la
from lightadapt import peft_bridge
from lightadapt.anatomy import read_anatomy
from lightadapt.methods import resolve_method
from lightadapt.peft_bridge import Adapter, activate, insert
from lightadapt.peft_bridge.layers import layers_in

METHODS = (
    "lora",
    "dora",
    "ia3",
    "vera",
    "adalora",
    "loha",
    "bottleneck",
    "parallel",
    "prefix",
    "prompt",
    "bitfit",
    "layernorm",
)
SHARING = [method for method in METHODS if method != "vera"]
"""Those of which a model may hold several; VeRA draws numbers for the model as a whole."""
CONFIG = BertConfig(
    vocab_size=50,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=40,
)
IDS = torch.arange(3, 17).reshape(2, 7)


def plain_model() -> BertForSequenceClassification:
    torch.manual_seed(0)
    return BertForSequenceClassification(copy.deepcopy(CONFIG)).eval()


@cache
def plan_of(method: str | la.Method):
    return resolve_method(method).plan(read_anatomy(BertForSequenceClassification, CONFIG), None)


def give(model, name: str, method: str | la.Method, seed: int = 1) -> Adapter:
    """Insert a method that has learned something."""
    torch.manual_seed(seed)
    adapter = insert(model, plan_of(method).config, name)
    with torch.no_grad():
        for _, parameter in adapter.named_parameters():
            parameter += torch.randn_like(parameter) * 0.3
    return adapter


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def anatomy_of(model) -> list[tuple]:
    """What a model is made of: its modules, what hangs on them, and its tensors by their places in memory."""
    modules = [
        (
            path,
            type(module),
            len(module._forward_hooks),
            len(module._forward_pre_hooks),
            type(vars(module).get("config")),
        )
        for path, module in model.named_modules()
    ]
    return [*modules, *((key, value.data_ptr()) for key, value in model.state_dict().items())]


@pytest.mark.parametrize("method", METHODS)
def test_remove_gives_back_the_plain_model(method):
    model = plain_model()
    before, expected = anatomy_of(model), logits(model)
    values = {key: value.clone() for key, value in model.state_dict().items()}
    adapter = give(model, "one", method)
    assert not torch.equal(logits(model), expected)
    assert anatomy_of(model) != before
    adapter.remove()
    assert anatomy_of(model) == before
    assert torch.equal(logits(model), expected)
    assert all(torch.equal(value, values[key]) for key, value in model.state_dict().items())
    assert not adapter.layers
    assert not peft_bridge.is_marked(model)
    assert not model._hf_peft_config_loaded


@pytest.mark.parametrize("method", SHARING)
@pytest.mark.parametrize("other", ["same", "lora", "bitfit", "layernorm"])
def test_remove_leaves_others_as_they_were(method, other):
    model = plain_model()
    kept = give(model, "kept", method if other == "same" else other)
    before, expected = anatomy_of(model), logits(model)
    added = give(model, "added", method, seed=2)
    assert not torch.equal(logits(model), expected)
    activate(model, ("kept",))
    assert torch.equal(logits(model), expected)
    added.remove()
    assert torch.equal(logits(model), expected)
    assert list(model.peft_config) == ["kept"]
    assert kept.layers
    assert anatomy_of(model) == before


@pytest.mark.parametrize("method", SHARING)
def test_the_first_can_be_removed_too(method):
    model = plain_model()
    first = give(model, "first", method)
    second = give(model, "second", method, seed=2)
    expected, tensors = logits(model), second.tensors()
    first.remove()
    assert torch.equal(logits(model), expected)
    assert {key: tensor.data_ptr() for key, tensor in second.tensors().items()} == {
        key: tensor.data_ptr() for key, tensor in tensors.items()
    }


def test_remove_of_the_active_one_leaves_the_base_alone():
    model = plain_model()
    expected = logits(model)
    give(model, "kept", "lora")
    give(model, "active", "lora").remove()
    assert torch.equal(logits(model), expected)


@pytest.mark.parametrize("method", METHODS)
def test_rename_changes_the_name_and_nothing_else(method):
    model = plain_model()
    plain = anatomy_of(model)
    adapter = give(model, "before", method)
    expected = logits(model)
    parameters, tensors = list(model.parameters()), adapter.tensors()
    state = [key.replace(".before", ".after") for key in model.state_dict()]
    renamed = adapter.rename("after")
    assert renamed == Adapter(model, "after")
    assert torch.equal(logits(model), expected)
    assert [id(each) for each in model.parameters()] == [id(each) for each in parameters]
    assert list(model.state_dict()) == state
    assert not adapter.layers
    assert renamed.parameters
    assert renamed.parameters <= dict(model.named_parameters()).keys()
    assert {key: each.data_ptr() for key, each in renamed.tensors().items()} == {
        key: each.data_ptr() for key, each in tensors.items()
    }
    activate(model, ())
    assert not torch.equal(logits(model), expected)
    activate(model, ("after",))
    assert torch.equal(logits(model), expected)
    renamed.remove()
    assert anatomy_of(model) == plain


def test_rename_keeps_the_order_of_several_and_refuses_names_that_are_taken():
    model = plain_model()
    for name in ("a", "b", "c"):
        give(model, name, "lora")
    keys = [key.replace(".a.", ".z.") for key in model.state_dict()]
    Adapter(model, "a").rename("z")
    assert list(model.state_dict()) == keys
    assert list(model.peft_config) == ["z", "b", "c"]
    with pytest.raises(la.LightAdaptError, match="holds an adapter of that name"):
        Adapter(model, "z").rename("c")
    assert list(model.state_dict()) == keys


@pytest.mark.parametrize("method", SHARING)
def test_tensors_are_those_that_stock_peft_reads_whatever_else_is_there(method):
    from peft import get_peft_model_state_dict

    alone, crowded = plain_model(), plain_model()
    give(alone, "mine", method)
    for number in range(2):
        give(crowded, f"other{number}", ("lora", "bitfit")[number])
    mine = give(crowded, "mine", method)
    crowded_tensors, expected = mine.tensors(), get_peft_model_state_dict(alone, adapter_name="mine")
    assert crowded_tensors.keys() == expected.keys()
    for key, tensor in expected.items():
        assert torch.equal(tensor, crowded_tensors[key]), key
    mine.load_tensors({key: torch.zeros_like(tensor) for key, tensor in expected.items()})
    assert all(not parameter.any() for _, parameter in mine.named_parameters())


def test_load_tensors_writes_what_tensors_gives():
    model = plain_model()
    one, other = give(model, "one", "dora"), give(model, "other", "dora", seed=2)
    before = logits(model)
    tensors = {key: tensor.clone() for key, tensor in other.tensors().items()}
    other.load_tensors(one.tensors())
    assert not torch.equal(logits(model), before)
    other.load_tensors(tensors)
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize("method", ["lora", "bitfit", "prefix"])
def test_an_insertion_costs_the_same_however_many_there_are(method):
    model, calls = plain_model(), []

    def count(frame, event, argument):
        nonlocal number
        number += event == "call"

    for turn in range(24):
        number = 0
        sys.setprofile(count)
        try:
            adapter = give(model, f"number{turn}", method)
            adapter.load_tensors({key: tensor.clone() for key, tensor in adapter.tensors().items()})
            activate(model, ())
        finally:
            sys.setprofile(None)
        calls.append(number)
    assert calls[-1] < 1.2 * calls[1]


def test_an_insertion_leaves_what_is_trained_of_others_as_it_is():
    model = plain_model()
    give(model, "first", "lora")
    before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert any(before.values())
    second = give(model, "second", "lora")
    after = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    assert before.items() <= after.items()
    assert {name for name, trained in after.items() if trained} - before.keys() == second.parameters


def test_a_method_that_inserts_nothing_has_an_adapter_without_layers(tmp_path):
    adapter = Adapter(plain_model(), "none")
    assert not adapter.layers
    assert not adapter.modules
    assert not adapter.parameters
    assert not adapter.tensors()
    adapter.write_config(tmp_path / "adapter_config.json", ["classifier"], None, None)
    content = json.loads((tmp_path / "adapter_config.json").read_text())
    assert content["modules_to_save"] == ["classifier"]
    assert peft_bridge.read_config(tmp_path / "adapter_config.json") is None
    before = anatomy_of(adapter.model)
    adapter.rename("other").remove()
    assert anatomy_of(adapter.model) == before


@pytest.mark.parametrize("others", [("lora",), ("ia3", "bitfit", "lora")])
def test_folded_is_right_among_others(others):
    model = plain_model()
    for number, method in enumerate(others):
        give(model, f"other{number}", method, seed=number)
    mine = give(model, "mine", "lora", seed=9)
    expected, state = logits(model), {key: value.clone() for key, value in model.state_dict().items()}
    with mine.folded():
        assert all(layer.merged_adapters == ["mine"] for layer in mine.layers)
        torch.testing.assert_close(logits(model), expected)
    assert torch.equal(logits(model), expected)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    mine.check_foldable(onto_these=True)
    mine.fold()
    torch.testing.assert_close(logits(model), expected)
    assert [(path, type(module)) for path, module in model.named_modules()] == [
        (path, type(module)) for path, module in plain_model().named_modules()
    ]


def test_two_models_that_share_a_base_know_of_their_own_adapter_only():
    first, second = plain_model(), plain_model()
    second.bert.encoder = first.bert.encoder
    plain, expected = anatomy_of(first), logits(first)
    give(first, "first", "lora")
    mine = give(second, "second", "lora")
    assert list(first.peft_config) == ["first"]
    assert list(second.peft_config) == ["second"]
    mine.remove()
    assert peft_bridge.is_marked(first)
    assert not peft_bridge.is_marked(second)
    activate(first, ())
    assert torch.equal(logits(first), expected)
    Adapter(first, "first").remove()
    assert anatomy_of(first) == plain
    assert not layers_in(second)


def test_a_layer_below_modules_that_are_not_shared_is_unwrapped_in_each_model():
    first, second = plain_model(), plain_model()
    plain = [(path, type(module)) for path, module in second.named_modules()]
    adapter = give(first, "one", "layernorm")
    second.bert.embeddings.LayerNorm = first.bert.embeddings.LayerNorm
    adapter.remove()
    assert not layers_in(first)
    assert len(layers_in(second)) == 1
    expected = logits(second)
    peft_bridge.unwrap_empty(second)
    assert torch.equal(logits(second), expected)
    assert [(path, type(module)) for path, module in second.named_modules()] == plain
