"""Several adaptations in one pass: each row gets what its adapter gives alone."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig

import lightadapt as la
from lightadapt import peft_bridge
from lightadapt.adaptation import mixed

TEXTS = [
    "I want my money back", "Where is the parcel?", "hello", "the order never came and nobody answers",
    "thanks", "my card was charged twice for the same order",
]  # fmt: skip
METHODS = [
    "lora", "dora", "ia3", "bitfit", "houlsby", "parallel", "prefix", "layernorm", "loha", "probe",
    la.LoRA(rank=3, targets="all-linear"),
]  # fmt: skip
MODELS = ["bert", "roberta", "distilbert", "electra", "modernbert", "gpt2", "llama", "granite", "qwen3"]


def stirred(adapted, name, seed):
    """Move what an adaptation trains away from its start."""
    torch.manual_seed(seed)
    with torch.no_grad(), adapted.computing(name) as runner:
        for parameter in sorted(runner.adaptation.all_trained):
            place = runner.model.get_parameter(parameter)
            place += 0.1 * torch.randn_like(place)


@pytest.fixture
def several(tiny):
    """Adaptations of a tiny model by name, the first of which is called default."""

    def make(model, *parts, **options):
        adapted = None
        for number, (task, method) in enumerate(parts):
            labels = ["A", "B", "C"] if task in ("classification", "ner", "multilabel") else None
            if adapted is None:
                adapted = la.adapt(tiny(model), task, method, labels=labels, dtype="float32", **options)
            else:
                adapted.add(f"a{number}", task=task, method=method, labels=labels, **options)
            stirred(adapted, adapted.names[-1], number)
        return adapted

    return make


@pytest.fixture
def together(monkeypatch):
    """The numbers of adaptations of each pass that several of them share."""
    counts = []
    inner = mixed.Mixer._infer_batch

    def count(self, groups, *more):
        counts.append(len(groups))
        return inner(self, groups, *more)

    monkeypatch.setattr(mixed.Mixer, "_infer_batch", count)
    return counts


def close(one, other):
    """Answers that are the same but for rounding."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(close, one, other))
    return one == pytest.approx(other, abs=1e-4) if isinstance(one, float) else one == other


def check(adapted, texts=TEXTS):
    """Texts for all adaptations in turn are answered as by each alone."""
    names = [adapted.names[number % len(adapted.names)] for number in range(len(texts))]
    alone = [adapted.predict([text], adapter=name, scores=True)[0] for text, name in zip(texts, names, strict=True)]
    beside = adapted.predict(texts, adapter=names, scores=True)
    assert close(beside, alone)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_each_method_computes_beside_lora(several, together, method):
    adapted = several("bert", ("classification", "lora"), ("classification", method), ("classification", method))
    check(adapted)
    assert max(together) == 3


@pytest.mark.parametrize("model", MODELS)
def test_each_architecture_computes_several_at_once(several, together, model):
    adapted = several(model, ("classification", "lora"), ("ner", la.LoRA(rank=3)), ("regression", "ia3"))
    check(adapted)
    assert max(together) == 3


@pytest.mark.parametrize(("model", "method"), [("bert", "prompt"), ("deberta-v2", "lora"), ("t5", "lora")])
def test_what_cannot_be_mixed_computes_alone(several, together, model, method):
    """A prompt makes rows longer; DeBERTa projects relative positions, too, which are of no row; T5 has two stacks."""
    adapted = several(model, ("classification", method), ("classification", method), ("multilabel", method))
    check(adapted)
    assert not together


def test_kinds_that_mix_do_so_beside_those_that_do_not(several, together):
    for alone in (0, 1, 2):  # the first one is in use, and computes last what was computed together
        parts = [("classification", "lora"), ("ner", "lora")]
        parts.insert(alone, ("classification", "prompt"))
        check(several("bert", *parts))
    assert together == [2, 2, 2]


def test_kinds_that_get_into_each_others_way_compute_alone(several, together):
    """A parallel bottleneck reads what goes into its block, while LoHa gives what is below it a part of the rows."""
    parts = [("classification", method) for method in ("parallel", "loha", "houlsby", "loha", "parallel")]
    check(several("electra", *parts))
    check(several("bert", *parts[:2], ("ner", "houlsby")))


def test_adapters_of_several_kinds_on_the_same_modules(several, together):
    parts = [("classification", each) for each in ("lora", "ia3", "bitfit", "loha", "dora", "houlsby")]
    check(several("bert", *parts))
    assert together == [6]


@pytest.mark.parametrize("count", [4, 12])
def test_ranks_and_numbers_of_rows_may_differ(several, together, count):
    """Few groups are computed one after the other, many in one product."""
    parts = [("classification", la.LoRA(rank=1 + number % 3, alpha=number + 1)) for number in range(count)]
    adapted = several("bert", *parts)
    names = [adapted.names[number] for number in range(count) for _ in range(1 + number % 2)]
    texts = [f"{TEXTS[place % 6]} {place}" for place in range(len(names))]
    alone = [adapted.predict([text], adapter=name, scores=True)[0] for text, name in zip(texts, names, strict=True)]
    assert close(adapted.predict(texts, adapter=names, scores=True), alone)
    assert together == [count]


def test_a_wrong_result_is_noticed_and_not_used(several, together, monkeypatch):
    adapted = several("bert", ("classification", "lora"), ("ner", "lora"))
    inner = mixed._head
    monkeypatch.setattr(mixed, "_head", lambda *args: inner(*args) * 1.1)
    check(adapted)
    assert not together


def test_each_config_of_peft_is_tried(several, monkeypatch):
    """Two that print alike need not compute alike."""
    tried = []
    monkeypatch.setattr(mixed, "_try", lambda part: tried.append(part.runner.adaptation.name))
    check(several("bert", ("classification", LoraConfig(r=4)), ("classification", LoraConfig(r=4, use_dora=True))))
    assert tried == ["default", "a1"]


def test_an_adapter_with_many_inputs_computes_alone(several, together):
    adapted = several("bert", ("classification", "lora"), ("ner", "lora"), ("regression", "lora"))
    texts = [*TEXTS[:2], *["my card was charged twice for the same order"] * 400]
    names = ["a1", "a2", *["default"] * 400]
    expected = [adapted.predict([text], adapter=name)[0] for text, name in zip(texts[:3], names[:3], strict=True)]
    assert close(adapted.predict(texts, adapter=names)[:3], expected)
    assert together == [2]


def test_nothing_is_left_behind(several):
    adapted = several("bert", ("classification", "lora"), ("ner", "houlsby"), ("regression", "ia3"))
    before = adapted.predict(TEXTS, scores=True)
    attributes = {path: set(vars(module)) for path, module in adapted.model.named_modules()}
    adapted.model.train()
    adapted.predict(TEXTS, adapter=adapted.names * 2)
    assert all(module.training for module in adapted.model.modules())
    adapted.model.eval()
    assert {path: set(vars(module)) for path, module in adapted.model.named_modules()} == attributes
    assert adapted.predict(TEXTS, scores=True) == before
    adapted.remove("a1")
    check(adapted)


def test_the_base_alone_answers_while_adapters_are_off(several, together):
    adapted = several("bert", ("classification", "lora"), ("classification", "lora"))
    with adapted.disable():
        alone = [adapted.predict([text], adapter=name)[0] for text, name in zip(TEXTS[:2], adapted.names, strict=True)]
        assert adapted.predict(TEXTS[:2], adapter=adapted.names) == alone
    assert not together


@pytest.mark.parametrize("layers", [None, "last:1"])
def test_all_answer_the_same_inputs(several, monkeypatch, layers):
    adapted = several("bert", ("classification", "lora"), ("ner", "lora"), ("multilabel", "ia3"), layers=layers)
    expected = {name: adapted.predict(TEXTS, adapter=name, scores=True) for name in adapted.names}
    computed = []
    layer = adapted.model.bert.encoder.layer[0].output
    layer.register_forward_hook(lambda module, args, output: computed.append(len(output)))
    assert close(adapted.predict_all(TEXTS, scores=True), expected)
    computed.clear()
    found = adapted.predict_all(TEXTS, ["a1", "default"], scores=True)
    assert list(found) == ["a1", "default"]
    assert close(found, {name: expected[name] for name in ("a1", "default")})
    assert sum(computed) == (len(TEXTS) if layers else 2 * len(TEXTS))  # what no one adapts is computed once


def test_bad_input_is_refused_before_anything_is_computed(several, together):
    adapted = several("bert", ("classification", "lora"), ("ner", "lora"))
    for names, phrase in (
        ([["default", "a1"], "a1"], "no adaptation"),
        (["default"], "1 names for 2 inputs"),
        (["default", "a2"], "Did you mean|There are: default, a1"),
    ):
        with pytest.raises(la.LightAdaptError, match=phrase):
            adapted.predict(TEXTS[:2], adapter=names)
    for adapters in ("default", [], {"default": 1}, 3):
        with pytest.raises(la.LightAdaptError, match="give a list of names"):
            adapted.predict_all(TEXTS, adapters)
    with pytest.raises(la.LightAdaptError, match="no adaptation 'other'"):
        adapted.predict_all(TEXTS, ["other"])
    with pytest.raises(la.DataError, match="Record 1"):
        adapted.predict([TEXTS[0], {"text": 5}], adapter=["default", "a1"])
    found = adapted.predict([{"text": TEXTS[0]}, {"text": None}], adapter=["default", "a1"], on_error="skip")
    assert found[1] is None
    assert not together


def test_what_is_remembered_for_predictions_alone_is_forgotten_with_each_change(several, together, tmp_path):
    adapted = several("bert", ("classification", "lora"), ("ner", la.LoRA(rank=3)), ("regression", "lora"))
    adapted.save(tmp_path / "other")
    stirred(adapted, "default", 9)
    adapted.dedicate()
    check(adapted)
    adapted.rename("a1", "tags")
    check(adapted)
    adapted.remove("default")
    la.load(tmp_path / "other", onto=adapted, name="default")
    check(adapted)
    adapted.use("a2").fit(
        [{"text": text, "label": float(number)} for number, text in enumerate(TEXTS)], epochs=1, learning_rate=0.1
    )
    check(adapted)
    assert together == [3, 3, 3, 3]


def test_updates_without_room_are_made_anew(several, monkeypatch):
    adapted = several("bert", ("classification", "lora"), ("ner", "lora"))
    adapted.dedicate()
    monkeypatch.setattr(peft_bridge.stacks, "KEPT_BYTES", 20_000)
    check(adapted)
    stacks = adapted.stacks(adapted.names)
    kept = [sum(update.bytes for update in held._updates.values()) for held in stacks.layers_of(adapted.model)]
    assert 0 in kept
    assert 0 < sum(kept) == 20_000 - stacks.room
