"""What an error or a warning advises works: each call, argument and command that a message names is tried.

`CASES` provokes a message and then does literally what it says. Messages that name a call and are not among them are in
`NOT_TRIED`, with the reason; a new message that is in neither fails here.
"""

from __future__ import annotations

import ast
import copy
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import numpy
import peft
import pytest
import torch
from learned import as_learned, stir, trainable
from sealed import rewrite
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    BertForSequenceClassification,
    BitsAndBytesConfig,
)

import lightadapt as la
from lightadapt.cli.values import parse_search
from lightadapt.stream import summary

ROOT = Path(la.__file__).parent
LABELS = ["no", "yes"]
TEXTS = [{"text": "where is my parcel", "label": "no"}, {"text": "thank you", "label": "yes"}] * 4
QUIET = {"disable_tqdm": True, "max_steps": 1}
Case = tuple[Callable[[Any], Any], Callable[[Any], Any]]


def adapt(here: Any, *method: Any, **options: Any) -> la.Adapted:
    """A fresh classifier."""
    return la.adapt(here.bert, "classification", *method, **{"labels": LABELS, **options})


def fit(adapted: la.Adapted, *data: Any, args: Any = None, **options: Any) -> la.Adapted:
    """One step."""
    adapted.fit(*(data or (TEXTS,)), args={**QUIET, **(args or {})}, **options)
    return adapted


def saved(here: Any, **options: Any) -> Path:
    """An artifact in a folder of its own."""
    folder = here.folder / f"saved-{len(list(here.folder.iterdir()))}"
    adapt(here, **options).save(folder)
    return folder


def edited(here: Any) -> Path:
    """An artifact whose chat template was put there on purpose."""
    folder = saved(here)
    (folder / "chat_template.jinja").write_text("hello")
    return folder


def rewritten(here: Any) -> Path:
    """An artifact whose adapter was edited on purpose."""
    folder = saved(here)
    (folder / "adapter_config.json").write_text((folder / "adapter_config.json").read_text() + "\n")
    return folder


def in_memory(here: Any, **options: Any) -> Path:
    """An artifact of a base that came from nowhere."""
    model = AutoModel.from_config(AutoModel.from_pretrained(here.bert).config)
    model.name_or_path = ""
    here.model = model
    folder = here.folder / "memory"
    la.adapt(copy.deepcopy(model), "classification", labels=LABELS, tokenizer=here.bert, **options).save(folder)
    return folder


def moved(here: Any) -> Path:
    """An artifact whose base is not where it was."""
    folder = saved(here)
    rewrite(folder, "lightadapt.json", lambda manifest: manifest["base"].update(id="/nowhere/base"))
    return folder


def peft_model(here: Any) -> Any:
    """A base inside PEFT's own wrapper."""
    return peft.get_peft_model(AutoModel.from_pretrained(here.bert), peft.LoraConfig(target_modules=["query"]))


def frozen(here: Any) -> la.Adapted:
    """A model of which somebody froze all."""
    adapted = adapt(here)
    adapted.model.requires_grad_(False)
    return adapted


def utf16(here: Any) -> Path:
    """A file that says by its first bytes that it is UTF-16, in a folder with a blank in its name."""
    file = here.folder / "a folder" / "data.csv"
    file.parent.mkdir(exist_ok=True)
    file.write_text("text,label\nhello there,no\nthank you,yes\n", encoding="utf-16")
    return file


def in_latin(here: Any) -> Path:
    """A file that does not say its encoding."""
    file = here.folder / "latin.csv"
    file.write_bytes("text,label\ncafé,no\nthé,yes\n".encode("cp1252"))
    return file


def run_named(here: Any) -> Any:
    """What is in the file that the command of the message writes."""
    command = re.search(r"iconv .*", here.message).group()
    subprocess.run(command, shell=True, check=True)
    return fit(adapt(here, labels=None), re.search(r"> '?(.*?)'?$", command).group(1))


def evaluate_named(here: Any) -> Any:
    """Run the expression of the message, with the names that it leaves open."""
    (expression,) = re.findall(r"pathlib\.Path.*$", here.message)
    new = here.folder / "new.csv"
    expression = expression.replace("encoding=…", "encoding='cp1252'")
    eval(expression, {"pathlib": __import__("pathlib"), "old": in_latin(here), "new": new})
    assert "café" in new.read_text(encoding="utf-8")
    return fit(adapt(here, labels=None), new)


def chat(here: Any) -> la.Adapted:
    """A model of chats."""
    tokenizer = AutoTokenizer.from_pretrained(here.llama)
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    return la.adapt(here.llama, la.Dialogue(max_new_tokens=2), tokenizer=tokenizer)


CHAT = {"role": "user", "content": "hello"}
SENTENCES = [{"sentence": each["text"], "label": each["label"]} for each in TEXTS]
LONG = "parcel " * 200
PAIR = (LONG, LONG)
QUANTIZED = {"quantize": "4bit"}


def exact(here: Any, overflow: str) -> la.Adapted:
    return la.adapt(here.bert, la.Classification(labels=LABELS, overflow=overflow))


CASES: dict[str, Case] = {
    # ---- few labels
    "the rows of this head are prototypes (recipe='few-shot'), which no class of transformers": (
        lambda here: fit(adapt(here), recipe="few-shot").merge(),
        lambda here: [
            fit(adapt(here), recipe="standard").merge(),
            fit(adapt(here), recipe="few-shot").save(here.folder / "shipped"),
            pytest.importorskip("onnxscript")
            and fit(adapt(here), recipe="few-shot").export(here.folder / "out", "onnx"),
        ],
    ),
    "Leave recipe out, or write recipe='standard'": (
        lambda here: fit(la.adapt(here.llama, "classification", labels=LABELS), recipe="few-shot"),
        lambda here: [
            fit(la.adapt(here.llama, "classification", labels=LABELS), recipe=recipe) for recipe in (None, "standard")
        ],
    ),
    "unlabelled=… is for task 'classification'": (
        lambda here: la.adapt(here.bert, "regression").fit([{"text": "a", "label": 0.5}], unlabelled=["b"]),
        lambda here: fit(la.adapt(here.bert, "regression"), [{"text": "a", "label": 0.5}, {"text": "b", "label": 1}]),
    ),
    "unlabelled=… takes two runs, whose checkpoints": (
        lambda here: fit(adapt(here), unlabelled=["a"], output_dir=here.folder / "run"),
        lambda here: [
            fit(adapt(here), unlabelled=["a"]),
            fit(adapt(here), output_dir=here.folder / "run"),
        ],
    ),
    # ---- labels, steps and streams
    "nothing is known of the texts that were learned. fit(…, validation=0.1)": (
        lambda here: adapt(here).predict(["a"], unknown=True),
        lambda here: fit(adapt(here), MANY, validation=0.1).predict(["a"], unknown=True),
    ),
    "is for tasks with one class a record, and": (
        lambda here: la.adapt(here.bert, "ner", labels=["PER"]).predict(["a"], unknown=True),
        lambda here: la.adapt(here.bert, "ner", labels=["PER"]).predict(["a"]),
    ),
    "the labels have changed since the last fit. Fit again with records of all first": (
        lambda here: grown(here).predict(["a"], unknown=True),
        lambda here: fit(grown(here), [*MANY, {"text": "is it whole", "label": "new"}]).predict(["a"], unknown=True),
    ),
    "asks one adaptation: give adapter=… one name": (
        lambda here: fit(adapt(here), MANY).predict(["a"], unknown=True, adapter=["default"]),
        lambda here: fit(adapt(here), MANY).predict(["a"], unknown=True, adapter="default"),
    ),
    "a class is called 'unknown', as the score is. Leave scores out": (
        lambda here: called_unknown(here).predict(["a"], unknown=True, scores=True),
        lambda here: called_unknown(here).predict(["a"], unknown=True),
    ),
    "drift: nothing is kept of the training data to compare with. fit on": (
        lambda here: fit(adapt(here), MANY, summary=False).drift(DRIFTING),
        lambda here: [
            fit(adapt(here), MANY, summary=False).drift(DRIFTING, reference=MANY),
            fit(adapt(here), MANY).drift(DRIFTING),
            extended(fit(adapt(here), MANY)).drift(DRIFTING),
            la.load(kept(here, extended(fit(adapt(here), MANY)))).drift(DRIFTING),
        ],
    ),
    "drift(…) will need reference=…;": (
        lambda here: without_vectors(lambda: fit(adapt(here), MANY)),
        lambda here: [
            fit(adapt(here), MANY, summary=False).drift(DRIFTING, reference=MANY),
            without_vectors(lambda: fit(adapt(here), MANY, summary=False)),
        ],
    ),
    "If they are two, say so first: adapted.add_labels(": (
        lambda here: extended(fit(adapt(here)), [{"text": "well", "label": "No"}]),
        lambda here: [
            extended(fit(adapt(here)), [{"text": "well", "label": "no"}]),
            extended(told_apart(here), [{"text": "well", "label": "No"}]),
        ],
    ),
    "No step was scored, so there is nothing to plot. Give validation data to extend(…)": (
        lambda here: extended(fit(adapt(here))).steps.plot(),
        lambda here: extended(fit(adapt(here)), validation=TEXTS).steps.plot(),
    ),
    "remember(…): nothing has been learned yet. Call fit(…) or extend(…) first": (
        lambda here: adapt(here).remember(TEXTS),
        lambda here: [each.remember(TEXTS) for each in (fit(adapt(here)), extended(adapt(here)))],
    ),
    "choose() compares records by one text each": (
        lambda here: la.adapt(here.bert, "multiple-choice").choose(CHOICES, 1),
        lambda here: la.adapt(here.bert, "classification").choose([each["question"] for each in CHOICES], 1),
    ),
    "choose(…, n=": (
        lambda here: adapt(here).choose(["late", "broken"], 3),
        lambda here: adapt(here).choose(["late", "broken"], int(re.search(r"at most (\d+)", here.message).group(1))),
    ),
    "suspects() judges labels of whole records, and task": (
        lambda here: la.adapt(here.bert, "regression").suspects([{"text": "a", "label": 1}] * 4),
        lambda here: [
            la.adapt(here.bert, task).suspects(data)
            for task, data in (
                ("classification", MANY),
                ("relation", [{**each, "head": [0, 2], "tail": [3, 5]} for each in MANY]),
                ("multilabel", [{"text": each["text"], "labels": [each["label"]]} for each in MANY]),
            )
        ],
    ),
    "it knows their wrong labels by heart: ask an adaptation that has not been trained": (
        lambda here: fit(adapt(here, "full")).suspects(TEXTS),
        lambda here: adapt(here, "full").suspects(TEXTS),
    ),
    "suspects() needs two labels or more with at least two records each. Give more data": (
        lambda here: adapt(here).suspects(TEXTS[:2]),
        lambda here: adapt(here).suspects(TEXTS),
    ),
    "suspects() needs a label that two records or more have, and two or more have not. Give more data": (
        lambda here: la.adapt(here.bert, "multilabel").suspects(SEVERAL[:2]),
        lambda here: la.adapt(here.bert, "multilabel").suspects(SEVERAL),
    ),
    # ---- searches
    "Give budget='30min', a time, or trials=30": (
        lambda here: tune(here),
        lambda here: [tune(here, budget="30min", trials=1), tune(here, trials=2)],
    ),
    "is too small for one run: with the default settings it takes about": (
        lambda here: tune(here, budget="1h", search={"epochs": [10_000_000]}),
        lambda here: tune(here, budget="1h", search=in_message(here, r"search=(\{.*?\})"), trials=1),
    ),
    "is too small for one run: it was used up before": (
        lambda here: tune(here, budget=0.01),
        lambda here: [
            tune(here, budget="10min", trials=1),
            tune(here, budget="10min", search=in_message(here, r"search=(\{.*?\})"), trials=1),
        ],
    ),
    "write name=range, such as method.rank=[4,8,16]": (
        lambda here: parse_search(["method.rank"]),
        lambda here: tune(here, trials=1, search=parse_search([in_message(here, r"such as (\S+)\.$", str)])),
    ),
    # ---- models, tokenizers and where they are
    "Use lightadapt.load(": (
        lambda here: la.adapt(saved(here), "ner"),
        lambda here: la.load(re.search(r"lightadapt\.load\('(.*)'\)", here.message).group(1)),
    ),
    "merge_and_unload(), which": (
        lambda here: la.adapt(peft_model(here), "classification", tokenizer=here.bert),
        lambda here: [
            fit(adapt(SimpleNamespace(bert=model), tokenizer=here.bert))
            for model in (peft_model(here).unload(), peft_model(here).merge_and_unload())
        ],
    ),
    "give what merge() of the adapted model makes": (
        lambda here: la.adapt(adapt(here).model, "classification", tokenizer=here.bert),
        lambda here: fit(la.adapt(fit(adapt(here)).merge(), "classification", tokenizer=here.bert, labels=LABELS)),
    ),
    "would be a random one. Train it with fit(…) first": (
        lambda here: adapt(here).merge(),
        lambda here: fit(adapt(here)).merge(),
    ),
    "Fit on them instead: fit(shots)": (
        lambda here: adapt(here).predict(["late"], shots=TEXTS),
        lambda here: fit(adapt(here)).predict(["late"]),
    ),
    "unload() or merge_and_unload())": (
        lambda here: la.adapt(peft_model(here).get_base_model(), "classification", tokenizer=here.bert),
        lambda here: adapt(SimpleNamespace(bert=peft_model(here).unload()), tokenizer=here.bert),
    ),
    "has no tokenizer with it. Pass tokenizer=…": (
        lambda here: la.adapt(nameless(here), "classification", labels=LABELS),
        lambda here: la.adapt(nameless(here), "classification", labels=LABELS, tokenizer=here.bert).predict(["a"]),
    ),
    "it has none of the files of one. Pass tokenizer=…": (
        lambda here: la.adapt(without_tokenizer(here), "classification", labels=LABELS),
        lambda here: la.adapt(here.folder / "bare", "classification", labels=LABELS, tokenizer=here.bert).predict(
            ["a"]
        ),
    ),
    "). Pass tokenizer=…": (
        lambda here: adapt(here, tokenizer=empty(here)),
        lambda here: adapt(here, tokenizer=here.bert),
    ),
    "Set tokenizer.pad_token to one of its tokens, and pass tokenizer=…": (
        lambda here: la.adapt(nameless(here), "classification", tokenizer=padless(here)),
        lambda here: la.adapt(
            nameless(here), "classification", tokenizer=padless(here, "[MASK]"), labels=LABELS
        ).predict(["a"]),
    ),
    "To share a base, give adapt(…) its name, its folder or its bare backbone": (
        lambda here: adapt(SimpleNamespace(bert=headed(here)), tokenizer=here.bert, labels=None).add("b"),
        lambda here: [
            adapt(SimpleNamespace(bert=model), tokenizer=here.bert).add("b") for model in (here.bert, headed(here).bert)
        ],
    ),
    "device='auto' or 'cpu'": (
        lambda here: adapt(here, device="cuda"),
        lambda here: [adapt(here, device=device) for device in ("auto", "cpu")],
    ),
    "Write 'auto', 'cpu', 'cuda' or 'mps'": (
        lambda here: adapt(here, device="gpu"),
        lambda here: [adapt(here, device=device) for device in ("auto", "cpu")],
    ),
    # ---- artifacts
    "If it was added on purpose: load(…, verify=False)": (
        lambda here: la.load(edited(here)),
        lambda here: la.load(edited(here), verify=False).predict(["a"]),
    ),
    "if it was edited on purpose: load(…, verify=False)": (
        lambda here: la.load(rewritten(here)),
        lambda here: la.load(rewritten(here), verify=False).predict(["a"]),
    ),
    "Pass it: load(path, base=model)": (
        lambda here: la.load(in_memory(here)),
        lambda here: la.load(here.folder / "memory", base=here.model).predict(["a"]),
    ),
    "Pass base= with its place now": (
        lambda here: la.load(moved(here)),
        lambda here: la.load(moved(here), base=here.bert).predict(["a"]),
    ),
    "For it as it was: load(…, dtype=": (
        lambda here: la.load(other_format(here)),
        lambda here: [la.load(other_format(here), dtype=dtype).predict(["a"]) for dtype in ("bfloat16", "float32")],
    ),
    "load it without onto=: load(…, dtype=": (
        lambda here: la.load(saved(here, dtype="bfloat16"), onto=adapt(here)),
        lambda here: la.load(saved(here, dtype="bfloat16"), dtype="bfloat16").predict(["a"]),
    ),
    "Pass base= with the model as it was then": (
        lambda here: la.load(saved(here), base=packed(here)),
        lambda here: la.load(saved(here), base=here.bert).predict(["a"]),
    ),
    "to have it as it was": (
        lambda here: la.load(saved(here, **QUANTIZED), quantize="8bit"),
        lambda here: la.load(saved(here, **QUANTIZED)).predict(["a"]),
    ),
    "give onto=…, the adapted model whose base it is to share": (
        lambda here: la.load(saved(here), name="b"),
        lambda here: la.load(saved(here), name="b", onto=adapt(here)).predict(["a"], adapter="b"),
    ),
    "the base is that of onto. Leave it out": (
        lambda here: la.load(saved(here), onto=adapt(here), dtype="float32"),
        lambda here: la.load(saved(here), onto=adapt(here)),
    ),
    "Give what adapt(…) or load(…) returned": (
        lambda here: la.load(saved(here), onto=adapt(here).model),
        lambda here: [la.load(saved(here), onto=other, name="b") for other in (adapt(here), la.load(saved(here)))],
    ),
    "Pass the right base=": (
        lambda here: la.load(strange_head(here)),
        lambda here: la.load(saved(here), base=here.bert),
    ),
    # ---- several, predicting, merging
    "adapted.add(name, method=…, task=…)": (
        lambda here: adapt(here, ["lora", "ia3"]),
        lambda here: adapt(here).add("b", method="ia3", task="ner", labels=["PER"]),
    ),
    "inside `with adapted.disable()`: leave the block first": (
        lambda here: inside(adapt(here)),
        lambda here: adapt(here).use("default"),
    ),
    "fit(…) reads them from its data, or give them: adapt(…, labels=[…])": (
        lambda here: adapt(here, labels=None).predict(["a"]),
        lambda here: [each.predict(["a"]) for each in (fit(adapt(here, labels=None)), adapt(here, labels=["a", "b"]))],
    ),
    "adapter=[…]) takes a list of inputs, with a name for each": (
        lambda here: adapt(here).predict("x.csv", adapter=["default"]),
        lambda here: adapt(here).predict(["a"], adapter=["default"]),
    ),
    "give a list of names, such as ['warranty']": (
        lambda here: adapt(here).add_labels("warranty"),
        lambda here: adapt(here).add_labels(["warranty"]),
    ),
    "takes a list of inputs. Write ": (
        lambda here: adapt(here).predict("hello"),
        lambda here: eval(re.search(r"predict\(\['.*'\]\)", here.message).group(), {"predict": adapt(here).predict}),
    ),
    "predict([[message, …]])": (
        lambda here: chat(here).predict([CHAT]),
        lambda here: chat(here).predict([[CHAT]]),
    ),
    "or fold into plain weights with base='dequantize'": (
        lambda here: as_learned(adapt(here, **QUANTIZED)).merge(base="quantized", dtype="float32"),
        lambda here: [
            as_learned(adapt(here, **QUANTIZED)).merge(base="quantized"),
            as_learned(adapt(here, **QUANTIZED)).merge(base="dequantize", dtype="float32"),
        ],
    ),
    # ---- quantized bases, and bitsandbytes
    "Write merge(base='dequantize')": (
        lambda here: as_learned(adapt(SimpleNamespace(bert=packed(here)))).merge(),
        lambda here: as_learned(adapt(SimpleNamespace(bert=packed(here)))).merge(base="dequantize"),
    ),
    "merge(base='dequantize') keeps all of it": (
        lambda here: learned(here, **QUANTIZED).merge(base="quantized", max_drift=9),
        lambda here: learned(here, **QUANTIZED).merge(base="dequantize"),
    ),
    "allow more, or ship the artifact": (
        lambda here: learned(here, **QUANTIZED).merge(base="quantized", max_drift=1e-9),
        lambda here: [
            learned(here, **QUANTIZED).merge(base="reload"),
            learned(here, **QUANTIZED).merge(base="quantized", max_drift=9),
            learned(here, **QUANTIZED).save(here.folder / "shipped"),
        ],
    ),
    "pass quantize='none'": (
        lambda here: without_bitsandbytes(here, lambda folder: la.load(folder)),
        lambda here: without_bitsandbytes(here, lambda folder: la.load(folder, quantize="none").predict(["a"])),
    ),
    # ---- what prints code
    "model = la.load(": (
        lambda here: (saved(here) / "README.md").read_text(encoding="utf-8"),
        lambda here: exec(
            re.search(r"```python\n(.*?)```", here.message, re.DOTALL)
            .group(1)
            .replace("path/to/this/folder", str(saved(here)))
            .replace("path/to/bert", str(here.bert))
            .replace("[…]", "['a']")
        ),
    ),
    # ---- methods
    "Use targets='all-linear'": (
        lambda here: la.adapt(mamba(), "generation", la.LoRA(targets="attention"), tokenizer=here.llama),
        lambda here: la.adapt(mamba(), "generation", la.LoRA(targets="all-linear"), tokenizer=here.llama),
    ),
    "write 'all-linear', 'attention', or names such as ['query', 'value']": (
        lambda here: la.LoRA(targets=5),
        lambda here: [adapt(here, la.LoRA(targets=t)) for t in ("all-linear", "attention", ["query", "value"])],
    ),
    "or use method='bitfit'": (
        lambda here: adapt(here, peft.LoraConfig(bias="all")),
        lambda here: [adapt(here, peft.LoraConfig()), adapt(here, method="bitfit")],
    ),
    "Write adapt(…, layers=[…])": (
        lambda here: adapt(here, peft.LoraConfig(layers_to_transform=[0])),
        lambda here: adapt(here, peft.LoraConfig(), layers=[0]),
    ),
    "or name the modules": (
        lambda here: adapt(here, peft.LoraConfig(target_modules="(a{1000}){1000}query")),
        lambda here: adapt(here, peft.LoraConfig(target_modules=["query"])),
    ),
    "write 'last:2', 'first:2', or a list of indices [0, 1]": (
        lambda here: adapt(here, layers="top:2"),
        lambda here: [adapt(here, layers=layers) for layers in ("last:2", "first:2", [0, 1])],
    ),
    "Use method='lora' or 'bottleneck', or leave quantize out": (
        lambda here: adapt(here, "full", **QUANTIZED),
        lambda here: [adapt(here, "lora", **QUANTIZED), adapt(here, "bottleneck", **QUANTIZED), adapt(here, "full")],
    ),
    "Give '4bit', '8bit', or a BitsAndBytesConfig": (
        lambda here: adapt(here, quantize="2bit"),
        lambda here: [adapt(here, quantize=q) for q in ("4bit", "8bit", BitsAndBytesConfig(load_in_4bit=True))],
    ),
    "checkpoint that is quantized already": (
        lambda here: adapt(SimpleNamespace(bert=packed(here)), quantize="8bit"),
        lambda here: [adapt(SimpleNamespace(bert=packed(here))), adapt(here, quantize="8bit")],
    ),
    # ---- data
    "Convert it first, for example: iconv": (lambda here: fit(adapt(here, labels=None), utf16(here)), run_named),
    "read_text(encoding=…), encoding='utf-8')": (
        lambda here: fit(adapt(here, labels=None), in_latin(here)),
        evaluate_named,
    ),
    "Choose one, such as data['part']": (
        lambda here: fit(adapt(here), datasets.DatasetDict({"part": datasets.Dataset.from_list(TEXTS)})),
        lambda here: fit(adapt(here), datasets.DatasetDict({"part": datasets.Dataset.from_list(TEXTS)})["part"]),
    ),
    "Rename it, or pass columns=": (
        lambda here: fit(adapt(here), SENTENCES),
        lambda here: fit(adapt(here), SENTENCES, columns={"text": "sentence"}),
    ),
    "? Rename it, or pass columns=": (
        lambda here: fit(adapt(here), [{**each, "text_pairs": "a"} for each in TEXTS]),
        lambda here: fit(
            adapt(here), [{**each, "text_pairs": "a"} for each in TEXTS], columns={"text_pair": "text_pairs"}
        ),
    ),
    "write {field: column}, such as {'text': 'sentence'}": (
        lambda here: fit(adapt(here), SENTENCES, columns=["sentence"]),
        lambda here: fit(adapt(here), SENTENCES, columns={"text": "sentence"}),
    ),
    "it the wrong way round? Write {field: column}: columns=": (
        lambda here: fit(adapt(here), SENTENCES, columns={"sentence": "text"}),
        lambda here: fit(
            adapt(here), SENTENCES, columns=ast.literal_eval(re.search(r"columns=(\{'.*?\})\.", here.message).group(1))
        ),
    ),
    "Convert it with str(), or choose the right column with columns={…}": (
        lambda here: fit(adapt(here), [{"text": 5, "other": "a", "label": "no"}]),
        lambda here: [
            fit(adapt(here), [{"text": str(5), "label": "no"}, TEXTS[1]]),
            fit(
                adapt(here),
                [{"text": 5, "other": "a", "label": "no"}, {**TEXTS[1], "other": "b"}],
                columns={"text": "other"},
            ),
        ],
    ),
    "convert it with str() or int()": (
        lambda here: fit(adapt(here, labels=None), [{"text": "a", "label": 0.5}, {"text": "b", "label": 1.5}]),
        lambda here: [
            fit(adapt(here, labels=None), [{"text": "a", "label": kind(0.5)}, {"text": "b", "label": kind(1.5)}])
            for kind in (str, int)
        ],
    ),
    ".encode('utf-8', 'ignore').decode()": (
        lambda here: adapt(here).predict(["hello \ud800"]),
        lambda here: adapt(here).predict(["hello \ud800".encode("utf-8", "ignore").decode()]),
    ),
    "or adapt with labels=[…] that include it": (
        lambda here: fit(adapt(here, labels=["no", "perhaps"])),
        lambda here: fit(adapt(here, labels=["no", "perhaps", "yes"])),
    ),
    "Give data or labels=[…] with two or more": (
        lambda here: fit(adapt(here, labels=None), TEXTS[:1]),
        lambda here: fit(adapt(here, labels=["no", "other"]), TEXTS[:1]),
    ),
    "Give the types, such as ['PER', 'LOC']": (
        lambda here: la.adapt(here.bert, "ner", labels=["O"]),
        lambda here: la.adapt(here.bert, "ner", labels=["PER", "LOC"]),
    ),
    "Give a list of names: labels=['no', …]": (
        lambda here: la.Classification(labels="no"),
        lambda here: la.adapt(here.bert, la.Classification(labels=["no", "yes"])),
    ),
    "Check labels, or columns={…}": (
        lambda here: fit(la.adapt(here.bert, "multilabel"), TOPICS),
        lambda here: fit(la.adapt(here.bert, "multilabel"), TOPICS, columns={"labels": "topics"}),
    ),
    "Check the tags, or columns={…}": (
        lambda here: fit(la.adapt(here.bert, "ner"), TAGS),
        lambda here: fit(la.adapt(here.bert, "ner"), TAGS, columns={"tags": "names"}),
    ),
    "columns={…} renames fields": (
        lambda here: fit(la.adapt(here.bert, "ner"), [{"column 1": ["Rome"], "column 2": ["B-LOC"]}]),
        lambda here: fit(
            la.adapt(here.bert, "ner"),
            [{"column 1": ["Rome"], "column 2": ["B-LOC"]}],
            columns={"tokens": "column 1", "tags": "column 2"},
        ),
    ),
    "or say which they are, counted from 0: columns={'tokens': 1, 'tags': -1}": (
        lambda here: fit(la.adapt(here.bert, "ner"), conll(here, "1 Ann B-PER\n2 ran O\n")),
        lambda here: fit(
            la.adapt(here.bert, "ner"), conll(here, "1 Ann B-PER\n2 ran O\n"), columns={"tokens": 1, "tags": -1}
        ),
    ),
    "columns={'tags': 3} takes another column": (
        lambda here: fit(la.adapt(here.bert, "ner"), conll(here, "Ann a b B-PER c\n")),
        lambda here: fit(la.adapt(here.bert, "ner"), conll(here, "Ann a b B-PER c\n"), columns={"tags": 3}),
    ),
    "Give the number of the column, counted from 0, such as 3": (
        lambda here: fit(la.adapt(here.bert, "ner"), conll(here, "Ann a b B-PER c\n"), columns={"tags": "NER"}),
        lambda here: fit(la.adapt(here.bert, "ner"), conll(here, "Ann a b B-PER c\n"), columns={"tags": 3}),
    ),
    "of this task. Say which: columns={": (
        lambda here: fit(adapt(here), exported("mood", "other")),
        lambda here: fit(adapt(here), exported("mood", "other"), columns={"label": "mood"}),
    ),
    "Say which is the": (
        lambda here: fit(adapt(here), exported("mood", title="a", body="b")),
        lambda here: fit(adapt(here), exported("mood", title="a", body="b"), columns={"text": "title"}),
    ),
    "choose overflow='truncate', which leaves out": (
        lambda here: la.adapt(here.llama, la.Generation(overflow="error")).check([{"prompt": LONG, "completion": "a"}]),
        lambda here: la.adapt(here.llama, la.Generation(overflow="truncate")).check(
            [{"prompt": LONG, "completion": "a"}]
        ),
    ),
    "or choose overflow='truncate' or overflow='windows'": (
        lambda here: exact(here, "error").predict([LONG]),
        lambda here: [exact(here, way).predict([LONG]) for way in ("truncate", "windows")],
    ),
    "Choose overflow='truncate'": (
        lambda here: exact(here, "windows").predict([PAIR]),
        lambda here: exact(here, "truncate").predict([PAIR]),
    ),
    "Translation(instruction='translate English to German: ')": (
        lambda here: la.adapt(here.llama, la.Translation(source_language="en", target_language="de")),
        lambda here: la.adapt(here.llama, la.Translation(instruction="translate English to German: ")),
    ),
    # ---- training
    "write fit(…, output_dir=…, resume=True)": (
        lambda here: fit(adapt(here), args={"resume_from_checkpoint": "here"}),
        lambda here: fit(adapt(here), output_dir=here.folder / "run", resume=True),
    ),
    "it is an option of tasks: Classification(label_smoothing=…)": (
        lambda here: fit(adapt(here), args={"label_smoothing_factor": 0.1}),
        lambda here: fit(la.adapt(here.bert, la.Classification(label_smoothing=0.1), labels=LABELS)),
    ),
    "give batch_tokens=…": (
        lambda here: fit(adapt(here), args={"auto_find_batch_size": True}),
        lambda here: fit(adapt(here), batch_tokens=64),
    ),
    "fit(train, validation=…, early_stopping=…)": (
        lambda here: fit(adapt(here), early_stopping=2),
        lambda here: fit(adapt(here), TEXTS, validation=TEXTS, early_stopping=2),
    ),
    "fit(train, validation=…, args=…)": (
        lambda here: fit(adapt(here), args={"eval_strategy": "epoch"}),
        lambda here: fit(adapt(here), TEXTS, validation=TEXTS, args={"eval_strategy": "epoch"}),
    ),
    "and eval_strategy='no': the best weights are those of an evaluation. Leave one of them out": (
        lambda here: validated(here, load_best_model_at_end=True, eval_strategy="no"),
        lambda here: [validated(here, load_best_model_at_end=True), validated(here, eval_strategy="no")],
    ),
    "fit(calibrate=True) finds the temperature on validation data, and there is none": (
        lambda here: fit(adapt(here), calibrate=True),
        lambda here: fit(adapt(here), TEXTS * 3, TEXTS * 3, calibrate=True),
    ),
    "early_stopping needs evaluations": (
        lambda here: fit(adapt(here), TEXTS, validation=TEXTS, early_stopping=2, args={"eval_strategy": "no"}),
        lambda here: [validated(here, eval_strategy="no"), fit(adapt(here), TEXTS, validation=TEXTS, early_stopping=2)],
    ),
    "give load_best_model_at_end=False, too": (
        lambda here: validated(here, save_strategy="no"),
        lambda here: [validated(here), validated(here, save_strategy="no", load_best_model_at_end=False)],
    ),
    "or give load_best_model_at_end=False": (
        lambda here: validated(here, save_strategy="steps", eval_strategy="epoch"),
        lambda here: [
            validated(here, eval_strategy="epoch"),
            validated(here, save_strategy="steps", eval_strategy="steps"),
            validated(here, save_strategy="steps", eval_strategy="epoch", load_best_model_at_end=False),
        ],
    ),
    "Pass resume=True to go on from there, or choose another folder": (
        lambda here: [fit(adapt(here), output_dir=here.folder / "run") for _ in range(2)],
        lambda here: [
            fit(adapt(here), output_dir=here.folder / "run", resume=True),
            fit(adapt(here), output_dir=here.folder / "other"),
        ],
    ),
    "resume=True needs output_dir=…": (
        lambda here: fit(adapt(here), resume=True),
        lambda here: fit(adapt(here), resume=True, output_dir=here.folder / "run"),
    ),
    "pass args={'optim': …}": (
        lambda here: fit(adapt(here), optimizer="sgd"),
        lambda here: fit(adapt(here), args={"optim": "sgd"}),
    ),
    "with base_dropout=True only": (
        lambda here: fit(adapt(here), args={"neftune_noise_alpha": 5.0}),
        lambda here: fit(adapt(here), args={"neftune_noise_alpha": 5.0}, base_dropout=True),
    ),
    "adapted.use('default') sets it right": (
        lambda here: fit(frozen(here)),
        lambda here: fit(frozen(here).use("default")),
    ),
    "give adapt(…, dtype=…)": (
        lambda here: fit(halved(here)),
        lambda here: fit(adapt(here, dtype="bfloat16")),
    ),
    "Start again from adapt(…) or load(…)": (
        lambda here: fit(spoilt(here)),
        lambda here: [fit(adapt(here)), fit(la.load(saved(here)))],
    ),
    "Adapt the upper ones only: adapt(…, layers='last:2')": (
        lambda here: fit(adapt(here), cache=True),
        lambda here: fit(adapt(here, layers="last:2"), cache=True, args={"max_steps": 4}),
    ),
    "Write cache=False, or leave cache out": (
        lambda here: fit(adapt(here), cache=True),
        lambda here: [fit(adapt(here), cache=False), fit(adapt(here))],
    ),
}
"""Part of each message: what provokes it, and what it says to do; `here.message` is what was said."""


TOPICS = [{"text": "a", "labels": [], "topics": ["x"]}, {"text": "b", "labels": [], "topics": ["y"]}]
TAGS = [{"tokens": ["in", "Rome"], "tags": ["O", "O"], "names": ["O", "B-LOC"]}]


MANY = [
    {"text": f"{word} {number}", "label": label}
    for number in range(30)
    for word, label in (("where", "no"), ("thanks", "yes"))
]
"""As many as are needed for a summary to be kept."""
DRIFTING = ["where is my parcel", "thank you"] * 10
CHOICES = [{"question": "Where is it?", "choices": ["here", "there"], "answer": 0}] * 2
SEVERAL = [{"text": text, "labels": labels} for text, labels in (("a", ["x"]), ("b", []), ("c", ["x"]), ("d", []))]


def extended(adapted, data=TEXTS, **options):
    """The same after one more step."""
    adapted.extend(data, args=QUIET, **options)
    return adapted


def grown(here):
    """What has learned two labels, and was given a third."""
    adapted = fit(adapt(here), MANY)
    adapted.add_labels(["new"])
    return adapted


def told_apart(here):
    """What was told that two labels are two, by the call of the message."""
    adapted = fit(adapt(here))
    eval(re.search(r"adapted\.add_labels\(\[.*?\]\)", here.message).group(), {"adapted": adapted})
    return adapted


def called_unknown(here):
    return fit(adapt(here, labels=None), [{**each, "label": each["label"].replace("no", "unknown")} for each in MANY])


def kept(here, adapted):
    adapted.save(here.folder / "kept")
    return here.folder / "kept"


def without_vectors(action):
    """What comes of an action where no vector can be computed."""

    def fail(*_):
        raise RuntimeError("out of memory")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "base_vectors", fail)
        return action()


def tune(here, **options):
    """A search whose trials run in this process."""
    starting = pytest.importorskip("lightadapt.experiments.tuning.starting")

    def call(function, arguments, **_):
        return json.loads(json.dumps(function(**json.loads(json.dumps(arguments)))))

    options = {
        "search": {"epochs": [2]},
        "storage": here.folder / f"study-{len(list(here.folder.iterdir()))}",
        **options,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(starting, "call_apart", call)
        return la.tune(here.bert, "classification", TEXTS, TEXTS, method="lora", device="cpu", **options)


def in_message(here, pattern, read=ast.literal_eval):
    """What a pattern finds in the message, read as Python."""
    return read(re.search(pattern, here.message).group(1))


def learned(here, **options):
    """A model whose adapter does something."""
    adapted = adapt(here, **options)
    stir(trainable(adapted.model).values(), size=0.5)
    return adapted


def without_bitsandbytes(here, action):
    folder = saved(here, **QUANTIZED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "bitsandbytes", None)
        return action(folder)


def conll(here, content):
    (here.folder / "x.conll").write_text(content)
    return here.folder / "x.conll"


def exported(*names, **data):
    """Tasks of Label Studio with these fields of answers."""
    results = [[{"from_name": name, "value": {"choices": [label]}} for name in names] for label in LABELS]
    return [{"data": data or {"text": "a"}, "annotations": [{"result": result}]} for result in results]


def empty(here):
    (here.folder / "empty").mkdir(exist_ok=True)
    (here.folder / "empty" / "tokenizer.json").write_text("{}")
    return here.folder / "empty"


def nameless(here):
    model = AutoModel.from_pretrained(here.bert)
    model.name_or_path = model.config.name_or_path = ""
    model.config.pad_token_id = None
    return model


def without_tokenizer(here):
    AutoModel.from_pretrained(here.bert).save_pretrained(here.folder / "bare")
    return here.folder / "bare"


def padless(here, pad=None):
    tokenizer = AutoTokenizer.from_pretrained(here.bert)
    for name in ("pad_token", "eos_token", "sep_token", "unk_token", "bos_token", "cls_token"):
        setattr(tokenizer, name, None)
    if pad is not None:
        tokenizer.pad_token = pad
    return tokenizer


def headed(here):
    model = BertForSequenceClassification.from_pretrained(here.bert)
    model.config.id2label = {0: "no", 1: "yes"}
    return model


def packed(here):
    folder = here.folder / "packed"
    if not folder.exists():
        config = BitsAndBytesConfig(load_in_4bit=True)
        AutoModel.from_pretrained(here.bert, quantization_config=config).save_pretrained(folder)
        AutoTokenizer.from_pretrained(here.bert).save_pretrained(folder)
    return folder


def other_format(here):
    """An artifact of another number format than what this processor takes by itself."""
    return saved(here, dtype="bfloat16")


def strange_head(here):
    folder = saved(here)
    rewrite(folder, "lightadapt.json", lambda manifest: manifest["head"].append("nowhere.weight"))
    return folder


def inside(adapted):
    with adapted.disable():
        adapted.use("default")


def halved(here):
    adapted = adapt(here)
    adapted.model.half()
    return adapted


def spoilt(here):
    adapted = adapt(here)
    with torch.no_grad():
        for parameter in trainable(adapted.model).values():
            parameter.fill_(numpy.nan)
    return adapted


def mamba():
    """A model without attention."""
    shape = {"vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 1, "pad_token_id": 0}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model("mamba", **shape))


def validated(here, **args):
    return fit(adapt(here), TEXTS, validation=TEXTS, args=args, output_dir=None)


@pytest.fixture
def here(tiny, tmp_path, monkeypatch):
    """What the cases work with."""
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(bert=tiny("bert"), llama=tiny("llama"), folder=tmp_path)


def message_of(action, here) -> str:
    """What an action is refused with, or warns of."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            said = action(here)
            if isinstance(said, str):
                return said
        except la.LightAdaptError as error:
            return str(error)
    return "\n".join(str(each.message) for each in told)


@pytest.mark.parametrize("part", CASES, ids=[part[:40] for part in CASES])
def test_what_is_advised_works(here, part):
    provoke, follow = CASES[part]
    here.message = message_of(provoke, here)
    assert part in here.message
    assert part not in message_of_success(follow, here)


def message_of_success(action, here) -> str:
    """What an action that must not fail warns of."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        action(here)
    return "\n".join(str(each.message) for each in told)


# ---- nothing is left out

CALL = re.compile(
    r"\b[a-z_.]+\((?:…|\[|\{|\)|[a-z_]+=[^◦]|')|\b[a-z_]+=(?:…|'|True|False|\[|\{)|pip install|python -m|iconv"
)
"""A call, an argument with its value or a command, as messages write them."""
NOT_TRIED = {
    "is no error, but what an export says of itself; tests/export runs it": ("AutoModel: ",),
    "is the help of an option, whose examples tests/cli parse": ("name=range: method.rank=[4,8,16]",),
    "needs several processes or another device": (
        "merge(): the model is split over several processes",
        "Give device='cpu', or leave quantize out",
        "Give all processes the same output_dir=…",
    ),
    "needs a GPU whose memory is full": (
        "A smaller batch_tokens=… avoids this",
        "Give args={'activation_checkpointing': True}, quantize='4bit' to adapt",
    ),
    "needs the network, to install a release; the extras are tried below": (
        "pip install -U",
        "Install it: pip install",
        "lightadapt was not tested with it",
        "pip install liger-kernel",
        ": pip install",
    ),
    "needs a run that is killed, spoilt or has no room; tests/training resumes those": (
        "Give output_dir=…, a folder with room",
        "is complete: resume=True goes on from there",
        "is kept, and the same call with resume=True goes on from there",
        "or with output_dir=… and resume=True",
    ),
    "needs a model or data that behave oddly; tests of check and of the tuners have them": (
        "gradient checkpointing with use_reentrant=True, or a model whose forward was changed",
        "Leave its block out with layers=…, or choose other targets",
        "Look at the records, and at dtype=…",
        "with placement='parallel', which does what a prefix does",
        "which do not show their keys and values. Leave text out",
        "Use method='lora' or 'parallel'",
        "Use method='prefix' or 'lora'",
        "with data.select_columns([…])",
    ),
    "depends on what bitsandbytes and PEFT can do together": ("Write merge(base='reload') or",),
    "needs a method of PEFT without defaults, which no version so far has had and lightadapt reads": (
        "Pass method=◦(…)",
        "Pass ◦=◦(…)",
    ),
    "starts processes of its own; tests/experiments compare": ("Give a list of names: methods=[",),
    "is run by tests of the demo": ("Next: lightadapt.load(",),
    "needs a model from the hub": ("by its id on the hub: run_demo(…, model=", "run_demo(…, model=◦)"),
    "is said on the command line": (
        "call fit(…, callbacks=[…]) from a script",
        "Convert it, for example: iconv -f latin1 -t utf-8 FILE | lightadapt predict",
    ),
    "is followed by tests/adaptation/test_model_card.py": ("PeftModel.from_pretrained(base, folder)",),
    "needs a language model; tests/zero_shot have some": (
        "shots=…: the head has learned by now, so it needs no examples. Leave them out",
        "shots are for one adaptation. Give its name alone",
        "Describe it in other words: labels={label: description}",
    ),
    "is a warning; tests/zero_shot/test_choosing.py has it": (
        "Train it with fit(…){}",
        ", or load(…) what was trained",
    ),
    "needs a hub; tests/adaptation/test_on_hub.py has one": ("To avoid both, adapt a model by its hub id",),
    "needs labels that are never predicted; tests/tasks/test_thresholds.py has some": ("or with threshold=",),
    "is said of any argument of Trainer; tests/test_suggestions.py follows some": ("args={◦: {value}}",),
    "is followed by tests/export": (
        "It is a saved adaptation: load(…), then export(",
        "if it was edited on purpose: load_onnx(…, verify=False)",
    ),
    "advises nothing": (
        "records: the others are nearly the same as these",
        "with a single record, which nothing tells right ",
        "labels of fewer than two records, or of nearly all, are not judged",
        "It is found by fit, for la.MultiLabel(threshold=…)",
        "which adapt(…) does not have",
        "PEFT has this start for plain LoRA only",
        "Known: True, False",
        "there is no column",
        "load(…, name=◦)",
    ),
}
"""Messages that name a call and that no case follows, by the reason."""


def plain(text: str) -> str:
    """A text with `◦` for all that is filled in or quoted."""
    return re.sub(r"(?<!\w)'[^']*'|\{\}", "◦", text)


def messages_in(tree: ast.AST) -> list[str]:
    """The texts in a module, with `{}` for what is filled in; docstrings are none."""
    found, inner = [], set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            inner.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in node.values}
            found.append("".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            found.append(node.value)
    return [text for text in found if " " in text.strip()]


def test_every_message_that_names_a_call_is_tried_or_says_why_not():
    known = {plain(part): False for part in (*CASES, *(part for parts in NOT_TRIED.values() for part in parts))}
    texts = [
        (file, text)
        for file in sorted(ROOT.rglob("*.py"))
        if file.name != "foreign_names.py"  # tests/test_suggestions.py follows those
        for text in messages_in(ast.parse(file.read_text("utf-8")))
    ]
    left = []
    for file, text in texts:
        mine = [part for part in known if part in plain(text)]
        known |= dict.fromkeys(mine, True)
        # tests/export goes from one format to the other.
        if CALL.search(text.replace("{}", "◦")) and not mine and not text.startswith(("export(", "Use: ")):
            left.append(f"{file.relative_to(ROOT)}: {text}")
    assert not left, "\n".join(["neither tried nor in NOT_TRIED:", *left])
    assert all(known.values()), [part for part, seen in known.items() if not seen]


def test_every_extra_that_is_advised_exists():
    named = {
        name
        for file in ROOT.rglob("*.py")
        for text in messages_in(ast.parse(file.read_text("utf-8")))
        for name in re.findall(r"lightadapt\[(\w+)\]", text)
    }
    assert {"demo", "plot", "quant"} <= named
    assert named <= set(metadata.metadata("lightadapt").get_all("Provides-Extra"))
