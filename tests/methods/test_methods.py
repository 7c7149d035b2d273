"""Properties of every method over one table of architectures, and its settings."""

from __future__ import annotations

import copy
import pickle

import peft
import pytest
import torch
from inserted import BERT, BOTTLENECKS, IDENTITY, INSERTING, build, shake, tokens
from learned import as_learned, assert_equal, without_dropout
from tiny_models import ARCHITECTURES
from transformers import BertForSequenceClassification

import lightadapt as la
from lightadapt import peft_bridge
from lightadapt.methods import NAMES, resolve_method
from lightadapt.tuners import PrefixLayer

CASES = [(name, method) for name in ARCHITECTURES for method in INSERTING]


# ---- every method on every architecture


@pytest.fixture
def make(tiny, messages):
    def build(name, method, **options):
        method = BOTTLENECKS.get(method, method) if isinstance(method, str) else method
        adapted = la.adapt(tiny(name), "classification", method, labels=messages, **options)
        features = adapted.runner.encode(adapted.task.parse(adapted.task.read(messages[:6])), targets=True)
        return adapted, adapted.runner.collate(features)

    return build


@pytest.mark.parametrize(("name", "method"), CASES)
def test_learns_saves_and_loads(make, tmp_path, name, method):
    adapted, batch = make(name, method)
    model = adapted.model
    learning = adapted.runner.adaptation.all_trained
    frozen = {key: value.clone() for key, value in model.state_dict().items() if key not in learning}
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
    assert trained.keys() == learning
    assert trained.keys() - adapted.runner.adaptation.base.head
    optimizer = torch.optim.Adam(trained.values(), lr=1e-2)
    reached: set[str] = set()
    for _ in range(6):
        model(**batch).loss.backward()
        reached |= {key for key, p in trained.items() if p.grad is not None and p.grad.abs().max() > 0}
        optimizer.step()
        optimizer.zero_grad()
    assert reached == trained.keys()
    assert_equal({key: model.state_dict()[key] for key in frozen}, frozen)
    adapted.save(tmp_path / "saved")
    again = la.load(tmp_path / "saved")
    with torch.no_grad():
        assert torch.equal(again.model(**batch).logits, model(**batch).logits)


@pytest.mark.usefixtures("plain_processor")
@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("method", IDENTITY)
def test_starts_as_the_identity(make, name, method):
    adapted, batch = make(name, method)
    with torch.no_grad():
        changed = adapted.model(**batch).logits
        with adapted.disable():
            torch.testing.assert_close(changed, adapted.model(**batch).logits, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "method"), CASES)
def test_padding_makes_no_difference(make, messages, name, method):
    adapted, _ = make(name, method)
    shake(adapted.model)
    texts = [record["text"] for record in messages[:4]]
    together = adapted.predict(texts, scores=True)
    for text, scores in zip(texts, together, strict=True):
        assert adapted.predict([text], scores=True)[0] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("method", INSERTING)
@pytest.mark.parametrize("options", [{}, {"use_reentrant": True}, {"use_reentrant": False}])
def test_gradient_checkpointing_gives_the_same_gradients(method, options):
    gradients = []
    for checkpointed in (False, True):
        model = shake(build(BertForSequenceClassification, BERT, method)).train()
        without_dropout(model)
        if checkpointed:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options or None)
        model(input_ids=tokens(), labels=torch.tensor([0, 1])).loss.backward()
        names = peft_bridge.Adapter(model, peft_bridge.ADAPTER).parameters
        gradients.append({name: p.grad for name, p in model.named_parameters() if name in names})
    assert gradients[1]
    assert None not in gradients[1].values()
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.usefixtures("plain_processor")
@pytest.mark.parametrize("method", ["lora", "dora", "ia3", "bitfit", "layernorm"])
@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_folds_into_the_weights(make, name, method):
    if (name, method) == ("modernbert", "bitfit"):
        pytest.skip("ModernBERT has no biases to fold them into; see test_what_cannot_be_folded")
    adapted, batch = make(name, method)
    shake(as_learned(adapted).model)
    with torch.no_grad():
        torch.testing.assert_close(adapted.merge()(**batch).logits, adapted.model(**batch).logits, atol=1e-5, rtol=1e-5)
    assert not peft_bridge.Adapter(adapted.merge(), peft_bridge.ADAPTER).modules


@pytest.mark.parametrize(
    ("name", "method"), [("bert", "pfeiffer"), ("bert", "prefix"), ("bert", "prompt"), ("modernbert", "bitfit")]
)
def test_what_cannot_be_folded(make, name, method):
    adapted, batch = make(name, method)
    expected = adapted.model(**batch).logits
    with pytest.raises(la.LightAdaptError, match=r"cannot be folded into the weights"):
        as_learned(adapted).merge()
    assert torch.equal(adapted.model(**batch).logits, expected)


@pytest.mark.parametrize("method", [*INSERTING, "vera", "loha", "adalora"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(make, method, dtype):
    adapted, batch = make("bert", method, dtype=dtype)
    assert {p.dtype for p in adapted.model.parameters() if p.requires_grad} == {torch.float32}
    adapted.model(**batch).loss.backward()
    gradients = [p.grad for p in adapted.model.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("method", ["vera", "loha", "lokr", "oft", "hra", "boft", "fourierft", "adalora"])
def test_other_methods_of_peft_by_name(make, tmp_path, method):
    adapted, batch = make("bert", method)
    shake(adapted.model, 0.01)
    adapted.save(tmp_path / "saved")
    with torch.no_grad():
        expected = adapted.model(**batch).logits
        torch.testing.assert_close(la.load(tmp_path / "saved").model(**batch).logits, expected, atol=0, rtol=0)


def test_a_config_of_peft_keeps_what_it_says(make):
    config = peft.LoraConfig(r=4, target_modules=["query", "value"], modules_to_save=["LayerNorm"])
    adapted, _ = make("bert", config)
    inserted = [name for name in peft_bridge.Adapter(adapted.model, peft_bridge.ADAPTER).parameters if "lora_A" in name]
    assert len(inserted) == 6
    assert {p.shape[0] for name, p in adapted.model.named_parameters() if "lora_A" in name} == {4}
    assert "bert.encoder.layer.0.output.LayerNorm.weight" in adapted.runner.adaptation.all_trained
    assert config.target_modules == {"query", "value"}  # the caller's object is as it was
    open_targets, _ = make("bert", peft.LoraConfig(r=2))
    assert (
        len([n for n in peft_bridge.Adapter(open_targets.model, peft_bridge.ADAPTER).parameters if "lora_A" in n]) == 18
    )


def test_prefix_and_prompt_configs_of_peft_are_ours():
    assert resolve_method(peft.PrefixTuningConfig(num_virtual_tokens=7)) == la.Prefix(length=7)
    assert resolve_method(peft.PromptTuningConfig(num_virtual_tokens=7)) == la.Prompt(length=7)


def test_a_pattern_of_targets_keeps_to_the_layers(make):
    config = peft.LoraConfig(r=2, target_modules=r"bert\.encoder\..*query")
    adapted, _ = make("bert", config, layers="last:1")
    (layer,) = peft_bridge.Adapter(adapted.model, peft_bridge.ADAPTER).modules
    assert layer == "bert.encoder.layer.2.attention.self.query"


def test_names_are_found_in_any_case():
    assert resolve_method("LoRA") == la.LoRA()
    assert resolve_method("IA3") == la.IA3()
    assert resolve_method("AdaLoRA") == resolve_method("adalora")
    assert resolve_method("ln_tuning") == la.LayerNorm()
    for wrong in (peft.LoraConfig, la.LoRA.__mro__[1], 5, None):
        with pytest.raises(la.LightAdaptError, match=r"Unknown method"):
            resolve_method(wrong)


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_an_instance_given_stays_as_it_is(tiny, messages, init):
    from transformers import AutoModel

    instance = AutoModel.from_pretrained(tiny("bert"))
    before = copy.deepcopy(instance.state_dict())
    adapted = la.adapt(instance, "classification", la.LoRA(init=init), labels=messages, tokenizer=str(tiny("bert")))
    adapted.fit(messages, epochs=1)
    assert_equal(instance.state_dict(), before)


@pytest.mark.parametrize("method", INSERTING)
def test_models_can_be_pickled_and_copied(make, method):
    adapted, batch = make("bert", method)
    shake(adapted.model)
    with torch.no_grad():
        expected = adapted.model(**batch).logits
        for copied in (copy.deepcopy(adapted.model), pickle.loads(pickle.dumps(adapted.model))):
            assert torch.equal(copied(**batch).logits, expected)


# ---- settings


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [("bert", "\u200b", "gives no tokens"), ("deberta-v2", "parcel", "computes attention from products of its own")],
)
def test_texts_that_a_prefix_cannot_start_from(make, name, text, message):
    with pytest.raises(la.LightAdaptError, match=message):
        make(name, la.Prefix(text=text))


def test_a_prefix_may_be_longer_than_its_text_may_be(make):
    adapted, batch = make("bert", la.Prefix(length=100, text="parcel"))
    assert adapted.model(**batch).logits.isfinite().all()


def test_a_prefix_can_start_from_text(make):
    adapted, _ = make("bert", la.Prefix(length=6, text="Which label does this message have?"))
    random, _ = make("bert", la.Prefix(length=6))
    ours, theirs = (
        next(module for module in each.model.modules() if isinstance(module, PrefixLayer)) for each in (adapted, random)
    )
    assert not torch.equal(ours.keys["default"], theirs.keys["default"])
    assert ours.keys["default"].std() > 3 * theirs.keys["default"].std()
    assert ours.seen is None
    assert adapted.predict(["Where is my parcel?"])


@pytest.mark.usefixtures("plain_processor")
@pytest.mark.parametrize("init", ["gaussian", "orthogonal", "pissa", "olora"])
def test_starts_of_lora(make, tmp_path, init):
    adapted, batch = make("bert", la.LoRA(init=init))
    probe, _ = make("bert", "probe")
    with torch.no_grad():
        torch.testing.assert_close(adapted.model(**batch).logits, probe.model(**batch).logits, atol=1e-5, rtol=1e-4)
        shake(adapted.model)
        adapted.save(tmp_path / "saved")
        expected = adapted.model(**batch).logits
        torch.testing.assert_close(la.load(tmp_path / "saved").model(**batch).logits, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("pattern", [r"layer\.0\..*query", r"^bert.encoder.layer.0.attention.self.query"])
def test_ranks_by_pattern(make, pattern):
    adapted, _ = make("bert", la.LoRA(rank=2, rank_pattern={pattern: 5}))
    ranks = {name: p.shape[0] for name, p in adapted.model.named_parameters() if "lora_A" in name}
    assert {rank for name, rank in ranks.items() if "layer.0.attention.self.query" in name} == {5}
    assert {rank for name, rank in ranks.items() if "layer.0.attention.self.query" not in name} == {2}


def test_a_prompt_leaves_its_positions_to_the_text(make, messages):
    adapted, _ = make("bert", la.Prompt(length=10))
    assert adapted.runner.max_length == 66 - 10
    long = " ".join(record["text"] for record in messages)
    with pytest.warns(UserWarning, match="56 tokens"):
        adapted.predict([long])


BAD_METHODS = [
    (la.LoRA, {"rank": 0}, "LoRA(rank=0)"),
    (la.LoRA, {"alpha": float("inf")}, "LoRA(alpha=inf): give a number above 0"),
    (la.LoRA, {"init": "pizza"}, "LoRA(init='pizza') is unknown. Did you mean 'pissa'?"),
    (la.LoRA, {"init": "eva"}, "needs data, gradients or a quantized base"),
    (la.LoRA, {"init": "pissa", "dora": True}, "for plain LoRA only"),
    (la.LoRA, {"dora": "yes"}, "write True or False"),
    (la.LoRA, {"rank_pattern": {"(": 4}}, "'(' is not a regular expression"),
    (la.LoRA, {"rank_pattern": {"query": 0}}, "rank_pattern['query']=0): give a number of at least 1"),
    (la.LoRA, {"rank_pattern": 4}, "write a dict"),
    (la.Bottleneck, {"reduction": 0}, "Bottleneck(reduction=0): give a whole number of at least 1"),
    (la.Bottleneck, {"reduction": -2}, "reduction=-2"),
    (la.Bottleneck, {"placement": "pfeifer"}, "Did you mean 'pfeiffer'?"),
    (la.Bottleneck, {"width": 2.5}, "width=2.5"),
    (la.Bottleneck, {"dropout": 1}, "Bottleneck(dropout=1): give a number from 0 to below 1"),
    (la.Bottleneck, {"scaling": 0}, "give a number above 0"),
    (la.Prefix, {"length": 0}, "Prefix(length=0)"),
    (la.Prefix, {"text": " "}, "Prefix(text=' '): give a text"),
    (la.Prompt, {"length": "5"}, "Prompt(length='5')"),
    (la.IA3, {"targets": []}, "IA3(targets=[])"),
]


@pytest.mark.parametrize(("method", "settings", "message"), BAD_METHODS, ids=[m[:40] for *_, m in BAD_METHODS])
def test_bad_settings(method, settings, message):
    with pytest.raises(la.LightAdaptError) as caught:
        method(**settings)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (la.Bottleneck(reduction=33), {}, "Bottleneck(reduction=33): the residual stream is 32 wide"),
        (la.Bottleneck(width=33), {}, "Bottleneck(width=33): the residual stream is 32 wide"),
        (la.Bottleneck(activation="rellu"), {}, "Did you mean 'relu'?"),
        (la.LoRA(rank_pattern={"nothing": 4}), {}, "'nothing' matches none of the 18 adapted projections"),
        (la.Prompt(), {"layers": "last:1"}, "Prompt works at the embeddings, not in blocks"),
        (la.Prompt(length=60), {}, "leave 6 of the model's 66 positions"),
        (la.Bottleneck(activation="prelu"), {}, "has parameters of its own"),
        (la.IA3(targets=["querry"]), {}, "IA3(targets=…): 'querry' is not a linear projection"),
        ("p_tuning", {}, "does not work inside a model but around it"),
        ("hoolsby", {}, "Did you mean 'houlsby'?"),
    ],
)
def test_methods_that_do_not_fit_are_refused_before_weights_load(tiny, monkeypatch, method, options, message):
    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", lambda *_, **__: pytest.fail("weights loaded"))
    with pytest.raises(la.LightAdaptError) as caught:
        la.adapt(tiny("bert"), "classification", method, labels=["a", "b"], **options)
    assert message in str(caught.value)


def test_every_name_has_settings_that_make_it_again():
    for name in NAMES:
        method = resolve_method(name)
        assert type(method)(**method.settings()) == method
        assert method.learning_rate > 0
