"""Several adaptations of one base: each is what it would be alone, and none touches another."""

from __future__ import annotations

import pytest
from learned import assert_equal
from transformers import AutoModel, AutoModelForSequenceClassification

import lightadapt as la

METHODS = ("lora", "houlsby", "parallel", "prefix", "ia3", "bitfit", "layernorm", "prompt", "dora", "probe")
KINDS = ("lora", "houlsby", "prefix", "bitfit", "prompt")
"""One method for each place at which they hang: projections, outputs, attention, biases and embeddings."""


@pytest.fixture
def texts(messages):
    return [record["text"] for record in messages[:5]]


@pytest.fixture
def both(tiny, messages):
    """NER with LoRA, and one classification with every method, on one base."""

    def make(name="bert", methods=METHODS):
        adapted = la.adapt(tiny(name), "ner", "lora", labels=messages)
        for method in methods:
            adapted.add(method, task="classification", method=method, labels=messages)
        return adapted

    return make


def about(scores):
    """These predictions, to rounding: LoRA has fewer kernels on layers that nothing else hangs on."""
    return [pytest.approx(each, abs=1e-4) for each in scores]


@pytest.mark.parametrize(("name", "methods"), [("bert", METHODS), ("deberta-v2", KINDS), ("modernbert", KINDS)])
def test_each_learns_what_it_would_alone(both, tiny, messages, texts, tmp_path, name, methods):
    adapted = both(name, methods)
    first, saved = adapted.predict(texts), {}
    for method in methods:
        adapted.use(method).fit(messages, epochs=1)
        alone = la.adapt(tiny(name), "classification", method, labels=messages)
        alone.fit(messages, epochs=1)
        expected = alone.predict(texts, scores=True)
        assert adapted.predict(texts, scores=True) == about(expected), method
        adapted.save(tmp_path / method)
        saved[method] = la.load(tmp_path / method).predict(texts, scores=True)
        assert saved[method] == about(expected), method
    assert adapted.use("default").predict(texts) == first
    for method in methods:
        assert adapted.use(method).predict(texts, scores=True) == about(saved[method]), method


def test_the_base_exists_once(both, tiny):
    adapted = both()
    models = [adapted.use(name).model for name in adapted.names]
    shared = {id(p) for p in models[0].bert.encoder.parameters()}
    assert len(models) == len(METHODS) + 1
    assert all({id(p) for p in model.bert.encoder.parameters()} == shared for model in models)
    single = sum(p.numel() for p in AutoModel.from_pretrained(tiny("bert")).parameters())
    every = {id(p): p.numel() for model in models for p in model.parameters()}
    assert sum(every.values()) < 3 * single


def test_heads_and_tasks_follow(both, messages):
    adapted = both()
    assert adapted.names == ["default", *METHODS]
    assert adapted.task.name == "ner"
    assert adapted.use("prefix") is adapted
    assert (adapted.task.name, adapted.method) == ("classification", la.Prefix())
    assert set(adapted.labels) == {record["label"] for record in messages}
    assert type(adapted.model).__name__ == "BertForSequenceClassification"
    assert "in use" in str(adapted)
    assert "prefix; also default" in str(adapted)


def test_only_the_one_in_use_is_trained(both, messages):
    adapted = both()
    adapted.use("houlsby")
    before = {
        id(p): p.clone()
        for name in adapted.names
        for p in adapted._several.named(name).model.parameters()
        if not p.requires_grad
    }
    adapted.fit(messages, epochs=1)
    after = {id(p): p for name in adapted.names for p in adapted._several.named(name).model.parameters()}
    assert_equal({key: after[key] for key in before}, before)


def test_disable_shows_the_base_for_a_while(tiny, messages, texts):
    adapted = la.adapt(tiny("bert"), "classification", "lora", labels=messages)
    start = adapted.predict(texts, scores=True)
    adapted.fit(messages, epochs=2)
    learned = adapted.predict(texts, scores=True)
    with adapted.disable() as base:
        without = base.predict(texts, scores=True)
    assert learned not in (start, without)
    assert adapted.predict(texts, scores=True) == learned
    assert any(p.requires_grad for p in adapted.model.parameters())
    with pytest.raises(RuntimeError, match=r"stop"), adapted.disable():
        raise RuntimeError("stop")
    assert adapted.predict(texts, scores=True) == learned


def test_the_task_in_use_is_the_default(tiny, messages):
    adapted = la.adapt(tiny("bert"), "classification", labels=["a", "b"])
    adapted.add("other")
    assert adapted.use("other").labels == ["a", "b"]
    adapted.add("third", labels=messages)
    assert len(adapted.use("third").labels) == 10
    adapted.add("fourth", task="ner")
    assert adapted.use("fourth").labels is None


def test_best_weights_and_resume_of_an_added_one(both, messages, tmp_path):
    adapted = both()
    adapted.use("lora").fit(messages, messages[:20], epochs=2, output_dir=tmp_path / "run")
    steps = adapted.history.steps
    adapted.fit(messages, messages[:20], epochs=3, output_dir=tmp_path / "run", resume=True)
    assert adapted.history.steps > steps


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("default",), {}, "add('default'): give a new name"),
        (("a.b",), {}, "give a new name of letters, digits, - and _"),
        ((5,), {}, "add(5)"),
        (("x",), {"method": "full"}, "Method 'full' changes the base itself, so the base cannot be shared"),
        (("x",), {"method": la.LoRA(init="pissa")}, "Method 'lora' changes the base itself"),
        (("x",), {"task": "nerr"}, "Unknown task 'nerr'. Did you mean 'ner'?"),
        (("x",), {"layers": "last:7"}, "the model has 3 blocks"),
    ],
)
def test_what_cannot_be_added(tiny, monkeypatch, arguments, options, message):
    adapted = la.adapt(tiny("bert"), "ner", labels=["PER"])
    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", lambda *_, **__: pytest.fail("weights loaded"))
    with pytest.raises(la.LightAdaptError) as caught:
        adapted.add(*arguments, **options)
    assert message in str(caught.value)
    assert adapted.names == ["default"]


def test_nothing_is_added_to_a_base_that_is_trained_or_in_use_as_it_is(tiny, messages):
    full = la.adapt(tiny("bert"), "classification", "full", labels=messages)
    with pytest.raises(la.LightAdaptError, match=r"Method 'full' changes the base itself"):
        full.add("x", method="lora")
    instance = AutoModelForSequenceClassification.from_pretrained(tiny("bert"), num_labels=2)
    adapted = la.adapt(instance, "classification", labels=["a", "b"], tokenizer=str(tiny("bert")))
    with pytest.raises(la.LightAdaptError, match=r"carries its own head and is used in place"):
        adapted.add("x")


def test_use_of_an_unknown_name(tiny):
    adapted = la.adapt(tiny("bert"), "ner", labels=["PER"])
    with pytest.raises(la.LightAdaptError, match=r"There is no adaptation 'defualt'. Did you mean 'default'?"):
        adapted.use("defualt")
