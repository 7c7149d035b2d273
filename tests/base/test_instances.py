"""Instances given as the base, and heads that came trained: used as they are, or refused."""

from __future__ import annotations

import json

import pytest
import torch
from learned import assert_equal
from tiny_models import ARCHITECTURES
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification

import lightadapt as la


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_bare_instance_stays_as_it_is(tiny, messages, tmp_path, method):
    base = AutoModel.from_pretrained(tiny("bert"))
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    adapted = la.adapt(base, "classification", method, labels=messages)
    adapted.fit(messages, epochs=1)
    assert_equal(base.state_dict(), before)
    adapted.save(tmp_path / "saved")
    texts = [record["text"] for record in messages[:5]]
    assert la.load(tmp_path / "saved").predict(texts, scores=True) == adapted.predict(texts, scores=True)


def test_an_instance_from_nowhere_needs_a_tokenizer_and_its_base_to_load(tiny, messages, tmp_path):
    base = AutoModel.from_config(AutoConfig.for_model("bert", **ARCHITECTURES["bert"]))
    with pytest.raises(la.LightAdaptError, match="Pass tokenizer="):
        la.adapt(base, "classification", labels=messages)
    adapted = la.adapt(base, "classification", labels=messages, tokenizer=str(tiny("bert")))
    adapted.save(tmp_path / "saved")
    with pytest.raises(la.ArtifactError, match="was trained on a model in memory"):
        la.load(tmp_path / "saved")
    assert la.load(tmp_path / "saved", base=base).predict(["a"], scores=True) == adapted.predict(["a"], scores=True)


def test_an_instance_with_its_head_is_used_as_it_is(tiny, messages):
    model = AutoModelForSequenceClassification.from_pretrained(tiny("bert"), num_labels=10)
    adapted = la.adapt(model, "classification", labels=messages)
    assert adapted.model is model
    assert model.classifier.weight.requires_grad
    with pytest.raises(la.LightAdaptError, match="already carries an adapter"):
        la.adapt(model, "classification")


def test_a_trained_ner_head_keeps_its_own_order_of_tags(tiny, messages):
    tags = ["I-B", "O", "B-B", "I-A", "B-A"]
    model = AutoModelForTokenClassification.from_pretrained(
        tiny("bert"), id2label=dict(enumerate(tags)), label2id={tag: number for number, tag in enumerate(tags)}
    )
    adapted = la.adapt(model, "ner")
    assert adapted.labels == ["A", "B"]
    adapted.fit([{"tokens": ["x", "y"], "tags": ["B-A", "O"]}], epochs=1)
    assert [model.config.id2label[number] for number in range(5)] == tags
    (feature,) = adapted.runner.encode(
        adapted.task.parse(adapted.task.read([{"tokens": ["x"], "tags": ["B-A"]}])), targets=True
    )
    assert feature.targets == {"labels": [-100, 4, -100]}


def test_half_precision_instances_are_not_fully_trained(tiny, messages):
    model = AutoModelForSequenceClassification.from_pretrained(tiny("bert"), num_labels=10, dtype=torch.bfloat16)
    with pytest.raises(la.LightAdaptError, match="needs float32 weights"):
        la.adapt(model, "classification", "full", labels=messages)


def test_the_outputs_of_a_trained_head_keep_their_numbers(tiny, tmp_path):
    names = [f"L{number:02}" for number in range(12)]
    model = AutoModelForSequenceClassification.from_pretrained(
        tiny("bert"), id2label=dict(enumerate(names)), label2id={name: number for number, name in enumerate(names)}
    )
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["id2label"] = dict(sorted(config["id2label"].items()))  # as text: 0, 1, 10, 11, 2, …
    (tmp_path / "config.json").write_text(json.dumps(config))
    for labels in (None, names, names[::-1]):
        adapted = la.adapt(tmp_path, "classification", labels=labels, tokenizer=str(tiny("bert")))
        batch = adapted.tokenizer("a late parcel", return_tensors="pt")
        with torch.no_grad():
            expected = names[model.eval()(**batch).logits.argmax()]
        assert adapted.predict(["a late parcel"]) == [expected]


@pytest.mark.parametrize("labels", [None, ["a", "b"]])
def test_the_head_of_a_regression_is_not_taken_over(tiny, tmp_path, labels):
    model = AutoModelForSequenceClassification.from_pretrained(
        tiny("bert"), id2label={0: "score"}, label2id={"score": 0}
    )
    model.save_pretrained(tmp_path)
    for source in (tmp_path, model):
        adapted = la.adapt(source, "classification", "probe", labels=labels, tokenizer=str(tiny("bert")))
        assert adapted.labels == labels
        adapted.fit([{"text": "x", "label": "a"}, {"text": "y", "label": "b"}], epochs=1)
        assert adapted.model.num_labels == 2


def test_the_head_of_other_labels_is_not_taken_over(tiny):
    names = {0: "cat", 1: "dog"}
    model = AutoModelForSequenceClassification.from_pretrained(
        tiny("bert"), id2label=names, label2id={"cat": 0, "dog": 1}
    )
    before = model.classifier.weight.detach().clone()
    assert la.adapt(model, "classification", "probe").labels == ["cat", "dog"]
    assert torch.equal(model.classifier.weight, before)
    la.adapt(model, "classification", "probe", labels=["refund", "other"])
    assert not torch.equal(model.classifier.weight, before)


@pytest.mark.parametrize("from_folder", [True, False])
def test_the_head_of_another_task_is_not_taken_over(tiny, messages, tmp_path, from_folder):
    model = AutoModelForTokenClassification.from_pretrained(tiny("bert"), num_labels=10)
    model.save_pretrained(tmp_path)
    before = model.classifier.weight.detach().clone()
    source = tmp_path if from_folder else model
    adapted = la.adapt(source, "classification", labels=messages, tokenizer=str(tiny("bert")))
    assert not torch.equal(adapted.model.classifier.weight, before)
    assert la.adapt(source, "classification", tokenizer=str(tiny("bert"))).labels is None
    adapted.fit(messages, epochs=1)
    assert torch.equal(model.classifier.weight, before)
