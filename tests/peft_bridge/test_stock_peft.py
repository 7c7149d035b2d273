"""Stock PEFT reads and drives what is ours, and we read its configs."""

from __future__ import annotations

import copy

import peft
import pytest
import torch
from inserted import BERT, build, shake, tokens
from learned import stir, trainable
from transformers import BertForSequenceClassification

import lightadapt as la
from lightadapt.adaptation.tensors import trained_tensors
from lightadapt.anatomy import read_anatomy
from lightadapt.methods import resolve_method
from lightadapt.peft_bridge import ADAPTER, Adapter


@pytest.mark.parametrize("method", ["prefix", "pfeiffer", "parallel", "bitfit", "prompt"])
def test_stock_peft_saves_loads_switches_and_disables(tmp_path, method):
    torch.manual_seed(0)
    base = BertForSequenceClassification(BERT).eval()
    plain = base(input_ids=tokens()).logits
    plan = resolve_method(method).plan(read_anatomy(type(base), BERT), None)
    model = peft.get_peft_model(copy.deepcopy(base), copy.deepcopy(plan.config))
    shake(model, 1.0)
    expected = model(input_ids=tokens()).logits
    assert not torch.allclose(expected, plain, atol=1e-4)
    model.save_pretrained(tmp_path / "one")
    again = peft.PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / "one").eval()
    assert torch.equal(again(input_ids=tokens()).logits, expected)
    again.add_adapter("two", copy.deepcopy(plan.config))
    again.set_adapter("two")
    other = again(input_ids=tokens()).logits
    again.set_adapter("default")
    assert torch.equal(again(input_ids=tokens()).logits, expected)
    assert not torch.equal(other, expected)
    with again.disable_adapter():
        assert torch.equal(again(input_ids=tokens()).logits, plain)
    again.delete_adapter("two")
    unloaded = again.unload()
    assert torch.equal(unloaded(input_ids=tokens()).logits, plain)
    assert unloaded.state_dict().keys() == base.state_dict().keys()


def test_saved_tensors_have_the_names_of_peft():
    model = build(BertForSequenceClassification, BERT, "houlsby")
    names = trained_tensors(Adapter(model, ADAPTER), [], [])
    assert "base_model.model.bert.encoder.layer.0.output.dense.lightadapt_bottleneck_layer.up.weight" in names


@pytest.mark.parametrize(
    ("name", "task", "method", "auto", "count"),
    [
        ("bert", "classification", "lora", peft.AutoPeftModelForSequenceClassification, 3),
        ("bert", "classification", "probe", peft.AutoPeftModelForSequenceClassification, 3),
        ("bert", "ner", "full", peft.AutoPeftModelForTokenClassification, 7),
        ("bert", "qa", "lora", peft.AutoPeftModelForQuestionAnswering, 2),
        ("gpt2", "generation", "lora", peft.AutoPeftModelForCausalLM, None),
    ],
)
def test_pefts_auto_classes_read_it(tiny, tmp_path, name, task, method, auto, count):
    options = {"labels": ["a", "b", "c"]} if task in ("classification", "ner") else {}
    adapted = la.adapt(tiny(name), task, method, dtype="float32", **options)
    stir(trainable(adapted.model).values())
    adapted.save(tmp_path / "saved")
    stock = auto.from_pretrained(tmp_path / "saved", **({} if count is None else {"num_labels": count})).eval()
    again = la.load(tmp_path / "saved")
    batch = adapted.tokenizer(["where is my parcel"], return_tensors="pt")
    with torch.no_grad():
        for part in ("logits",) if task != "qa" else ("start_logits", "end_logits"):
            expected = getattr(adapted.model(**batch), part)
            assert torch.equal(getattr(again.model(**batch), part), expected)
            torch.testing.assert_close(getattr(stock(**batch), part), expected, rtol=1e-4, atol=1e-5)
