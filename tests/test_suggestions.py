"""Names that people bring from other libraries are answered with what to write here, and that works."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import subprocess
import sys

import peft
import pytest

import lightadapt as la
from lightadapt.errors import LightAdaptError, nearest
from lightadapt.methods import resolve_method
from lightadapt.suggestions.foreign_names import ADAPT, CONSTRUCTORS, EVALUATE, FIT, LOAD, METHODS, PREDICT, SAVE, TASKS
from lightadapt.tasks import resolve_task

TASK_NAMES = [
    ("token-classification", "ner"),
    ("TOKEN_CLS", "ner"),
    ("named entity recognition", "ner"),
    ("text-classification", "classification"),
    ("sequence-classification", "classification"),
    ("SEQ_CLS", "classification"),
    ("question-answering", "qa"),
    ("causal-lm", "generation"),
    ("text-generation", "generation"),
    ("seq2seq", "generation"),
    ("SEQ_2_SEQ_LM", "generation"),
    ("sts", "regression"),
    ("multi-label", "multilabel"),
    ("chat", "dialogue"),
]
METHOD_NAMES = [
    ("qlora", "method='lora' with quantize='4bit'"),
    ("adapters", "method='bottleneck'"),
    ("adapter", "method='bottleneck'"),
    ("seq_bn", "method='bottleneck'"),
    ("double_seq_bn", "method='houlsby'"),
    ("par_bn", "method='parallel'"),
    ("prompt-tuning", "method='prompt'"),
    ("p-tuning", "method='prompt'"),
    ("p_tuning", "method='prompt'"),
    ("prefix-tuning", "method='prefix'"),
    ("linear", "method='probe'"),
    ("head", "method='probe'"),
    ("finetune", "method='full'"),
    ("full fine-tuning", "method='full'"),
]
CONSTRUCTED = [
    (lambda: la.LoRA(r=16), "LoRA(rank=16)", lambda: la.LoRA(rank=16)),
    (lambda: la.LoRA(lora_alpha=32), "LoRA(alpha=32)", lambda: la.LoRA(alpha=32)),
    (lambda: la.LoRA(target_modules=["query"]), "LoRA(targets=['query'])", lambda: la.LoRA(targets=["query"])),
    (lambda: la.LoRA(16), "Say what 16 is, such as LoRA(rank=16)", lambda: la.LoRA(rank=16)),
    (lambda: la.LoRA(ranks=16), "Did you mean 'rank'?", lambda: la.LoRA(rank=16)),
    (lambda: la.LoRA(learning_rate=1e-3), "fit(…, learning_rate=0.001)", la.LoRA),
    (lambda: la.Prefix(num_virtual_tokens=20), "Prefix(length=20)", lambda: la.Prefix(length=20)),
    (lambda: la.Prompt(num_virtual_tokens=20), "Prompt(length=20)", lambda: la.Prompt(length=20)),
    (lambda: la.Bottleneck(reduction_factor=8), "Bottleneck(reduction=8)", lambda: la.Bottleneck(reduction=8)),
    (lambda: la.Bottleneck(non_linearity="gelu"), "activation='gelu'", lambda: la.Bottleneck(activation="gelu")),
    (lambda: la.NER(label_list=["PER"]), "NER(labels=['PER'])", lambda: la.NER(labels=["PER"])),
    (lambda: la.Classification(num_labels=3), "Name the labels: labels=", lambda: la.Classification(labels=["a", "b"])),
    (lambda: la.Classification(max_length=9), "overflow='windows'", lambda: la.Classification(overflow="windows")),
    (lambda: la.QA(max_seq_length=256), "QA(window=256)", lambda: la.QA(window=256)),
    (lambda: la.QA(doc_stride=64), "QA(overlap=64)", lambda: la.QA(overlap=64)),
    (lambda: la.Generation(max_length=9), "max_new_tokens=9", lambda: la.Generation(max_new_tokens=9)),
    (lambda: la.Generation(num_beams=4), "{'num_beams': 4}", lambda: la.Generation(options={"num_beams": 4})),
]
ADAPTED = [
    ({"rank": 4}, "method=la.LoRA(rank=4)", {"method": la.LoRA(rank=4)}),
    ({"r": 4}, "method=la.LoRA(rank=4)", {"method": la.LoRA(rank=4)}),
    ({"lora_alpha": 4}, "method=la.LoRA(alpha=4)", {"method": la.LoRA(alpha=4)}),
    ({"target_modules": ["query"]}, "la.LoRA(targets=['query'])", {"method": la.LoRA(targets=["query"])}),
    ({"load_in_4bit": True}, "quantize='4bit'", None),
    ({"num_labels": 3}, "labels=['…', '…']", {"labels": ["a", "b", "c"]}),
    ({"id2label": {0: "a", 1: "b"}}, "labels=list(id2label.values())", {"labels": list({0: "a", 1: "b"}.values())}),
    ({"model_name": "bert"}, "model='bert'", None),
    ({"peft_config": peft.LoraConfig()}, "method=", {"method": peft.LoraConfig()}),
    ({"token": "hf_1"}, "hf auth login", None),
    ({"torch_dtype": "float32"}, "dtype='float32'", {"dtype": "float32"}),
    ({"device_map": "auto"}, "device='auto'", {"device": "auto"}),
    ({"epochs": 3}, "adapted.fit(train", None),
    ({"colour": "red"}, "unknown. Known: model, task, method, labels", None),
]
FITTED = [
    ({"lr": 3e-4}, "learning_rate=0.0003", {"learning_rate": 3e-4}),
    ({"batch_size": 8}, "{'per_device_train_batch_size': 8}", {"args": {"per_device_train_batch_size": 8}}),
    ({"per_device_train_batch_size": 8}, "{'per_device_train_batch_size': 8}", None),
    ({"num_epochs": 2}, "epochs=2", {"epochs": 2}),
    ({"num_train_epochs": 2}, "epochs=2", {"epochs": 2}),
    ({"eval_dataset": []}, "validation=…", None),
    ({"train_dataset": []}, "train=…", None),
    ({"warmup_ratio": 0.1}, "args={'warmup_steps': 0.1}", {"args": {"warmup_steps": 0.1}}),
    ({"weight_decay": 0.1}, "args={'weight_decay': 0.1}", {"args": {"weight_decay": 0.1}}),
    ({"max_grad_norm": 0.5}, "args={'max_grad_norm': 0.5}", {"args": {"max_grad_norm": 0.5}}),
    ({"fp16": True}, "dtype='bfloat16'", None),
    ({"max_length": 128}, "Leave it out", None),
    ({"auto_find_batch_size": True}, "give batch_tokens=…", {"batch_tokens": 200}),
    ({"patience": 2}, "early_stopping=2", None),
    ({"epoch": 2}, "Did you mean 'epochs'?", {"epochs": 2}),
]
PREDICTED = [
    ({"batch_size": 8}, "batch_tokens=4096", {"batch_tokens": 4096}),
    ({"top_k": None}, "scores=True", {"scores": True}),
    ({"return_all_scores": True}, "scores=True", {"scores": True}),
    ({"max_new_tokens": 8}, "options={'max_new_tokens': 8}", None),
]


def _named(rows):
    return [row[1][:40] for row in rows]


@pytest.mark.parametrize(("name", "right"), TASK_NAMES)
def test_tasks(name, right):
    with pytest.raises(LightAdaptError, match="Unknown task") as caught:
        resolve_task(name)
    assert f"Here it is called '{right}'." in str(caught.value)
    assert resolve_task(right).name == right


@pytest.mark.parametrize(("name", "right"), METHOD_NAMES)
def test_methods(name, right):
    with pytest.raises(LightAdaptError) as caught:
        resolve_method(name)
    assert right in str(caught.value)
    resolve_method(right.split("'")[1])


@pytest.mark.parametrize(("call", "phrase", "mended"), CONSTRUCTED, ids=_named(CONSTRUCTED))
def test_settings(call, phrase, mended):
    with pytest.raises(LightAdaptError) as caught:
        call()
    assert isinstance(caught.value, TypeError)
    assert phrase in str(caught.value)
    mended()


@pytest.mark.parametrize(("options", "phrase", "mended"), ADAPTED, ids=_named(ADAPTED))
def test_adapt(tiny, no_weights, options, phrase, mended):
    with pytest.raises(LightAdaptError) as caught:
        la.adapt(tiny("bert"), "classification", **options)
    assert isinstance(caught.value, TypeError)
    assert phrase in str(caught.value)
    with pytest.raises(LightAdaptError):  # the same for what looks at a model
        la.inspect(tiny("bert"), task="classification", **options)


@pytest.mark.parametrize("mended", [row[2] for row in ADAPTED if row[2] is not None])
def test_adapt_as_it_was_told(tiny, mended):
    assert la.adapt(tiny("bert"), "classification", **mended).task.name == "classification"


@pytest.mark.parametrize(("options", "phrase", "mended"), FITTED, ids=_named(FITTED))
def test_fit(classifier, messages, options, phrase, mended):
    model = classifier()
    with pytest.raises(LightAdaptError) as caught:
        model.fit(messages[:4], **options)
    assert isinstance(caught.value, TypeError)
    assert phrase in str(caught.value)
    if mended is not None:
        assert model.fit(messages[:4], **{"epochs": 1, **mended}).steps > 0


@pytest.mark.parametrize(("options", "phrase", "mended"), PREDICTED, ids=_named(PREDICTED))
def test_predict(classifier, options, phrase, mended):
    model = classifier()
    with pytest.raises(LightAdaptError) as caught:
        model.predict(["hello"], **options)
    assert phrase in str(caught.value)
    if mended is not None:
        assert len(model.predict(["hello"], **mended)) == 1


def test_arguments_that_are_missing_too_many_or_given_twice(tiny, classifier):
    with pytest.raises(LightAdaptError, match=r"adapt\(…\) lacks task. Write adapt\(model, task, method, …\)"):
        la.adapt(tiny("bert"))
    with pytest.raises(LightAdaptError, match=r"adapt\(…\) gets task twice"):
        la.adapt(tiny("bert"), "ner", task="ner")
    with pytest.raises(
        LightAdaptError, match=r"fit takes train, validation without a name\. Say what 3 is, .*epochs=3"
    ):
        classifier().fit([], [], 3)
    with pytest.raises(LightAdaptError, match=r"predict\(…\) lacks inputs\."):
        classifier().predict()


def test_every_way_is_an_argument_that_is_there():
    """What is told to be written is a parameter of what is called; sentences stand for themselves."""
    functions = [(la.adapt, ADAPT), (la.load, LOAD)]
    functions += [(getattr(la.Adapted, name), ways) for name, ways in (("fit", FIT), ("predict", PREDICT))]
    functions += [(la.Adapted.evaluate, EVALUATE), (la.Adapted.save, SAVE)]
    functions += [(getattr(la, name), ways) for name, ways in CONSTRUCTORS.items()]
    for function, ways in functions:
        known = inspect.signature(function).parameters
        for name, way in ways.items():
            assert name not in known or function in (la.Adapted.fit, la.Adapted.evaluate, la.Adapted.predict), name
            assert way[0].isupper() or way.partition("=")[0] in known, (function, name, way)


def test_every_name_leads_to_what_there_is():
    assert {resolve_task(name).name for name in TASKS.values()} == set(TASKS.values())
    for way in METHODS.values():
        resolve_method(way.split("'")[1])


def test_signatures_and_copies_of_settings_stay():
    assert list(inspect.signature(la.LoRA).parameters)[:2] == ["rank", "alpha"]
    assert list(inspect.signature(la.adapt).parameters)[:3] == ["model", "task", "method"]
    assert pickle.loads(pickle.dumps(la.LoRA(rank=3))) == dataclasses.replace(la.LoRA(), rank=3)


def test_a_public_name_in_another_spelling():
    with pytest.raises(AttributeError, match="Did you mean 'LoRA'"):
        _ = la.Lora


def test_what_is_not_alike_is_not_suggested(classifier):
    assert nearest("label", ["labels_note", "label_text"], 0.75) == ""
    with pytest.raises(la.DataError) as caught:
        classifier().fit([{"text": "a", "labels_note": "b"}])
    assert "Did you mean" not in str(caught.value)
    with pytest.raises(la.DataError, match="Did you mean 'sentences'"):
        classifier().fit([{"sentences": "a", "label": "b"}], columns={"text": "sentence"})


def test_help_names_no_type_of_flags():
    done = subprocess.run([sys.executable, "-m", "lightadapt", "--help"], capture_output=True, text=True, check=True)
    assert "--version" in done.stdout
    assert "bool" not in done.stdout


RUN = """
import sys
import lightadapt as la
from lightadapt import sample
records = sample.records("train")
model = la.adapt(sys.argv[1], "classification")
model.fit(records[:40], records[40:50], epochs=1)
model.predict(["Where is my parcel?"])
model.save(sys.argv[2])
la.load(sys.argv[2]).predict(["Where is my parcel?"])
writer = la.adapt(sys.argv[3], "generation")
writer.fit([{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d"}], epochs=1)
writer.predict(["a"], options={"max_new_tokens": 4, "temperature": 0.5})
"""


@pytest.mark.slow
def test_a_run_says_nothing_but_its_own(tiny, tmp_path):
    command = [sys.executable, "-c", RUN, str(tiny("bert")), str(tmp_path / "saved"), str(tiny("llama"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.strip()]
    assert all(line.strip().startswith(("classification, lora: ", "generation, lora: ")) for line in said), done.stderr
    assert not done.stdout
