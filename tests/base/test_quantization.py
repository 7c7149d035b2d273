"""Frozen weights in 4 or 8 bits: which of them, that every method learns on them, and how they are folded again."""

from __future__ import annotations

import re
import sys
from contextlib import nullcontext

import peft
import pytest
import torch
from learned import as_learned
from sealed import rewrite
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
    BitsAndBytesConfig,
    TrainerCallback,
)
from transformers.pytorch_utils import Conv1D

import lightadapt as la
from lightadapt import peft_bridge
from lightadapt.base.four_bits import keep_trainable
from lightadapt.base.quantization import Quantization, check_device
from lightadapt.base.quantized_modules import is_quantized
from lightadapt.export import merging

FORMS = ("4bit", "8bit")
METHODS = {
    **{name: name for name in ("lora", "dora", "rslora", "prefix", "ia3", "bitfit", "layernorm", "probe")},
    "prompt": la.Prompt(length=4),
    "pfeiffer": la.Bottleneck(reduction=2),
    "houlsby": la.Bottleneck(placement="houlsby", reduction=2),
    "parallel": la.Bottleneck(placement="parallel", reduction=2),
}
"""Wide bottlenecks: of the two units that 32 / 16 gives, both may be dead by chance."""
CASES = [
    *((name, method, "4bit") for name in ("bert", "llama", "t5") for method in METHODS),
    *(("bert", method, "8bit") for method in METHODS if method != "dora"),
    *((name, method, "8bit") for name in ("llama", "t5") for method in ("lora", "prefix", "ia3", "parallel")),
]
WHICH = [
    *((name, "classification", "4bit") for name in ("bert", "deberta-v2", "modernbert", "distilbert", "llama", "bart")),
    *((name, "generation", "4bit") for name in ("llama", "gpt2", "qwen3")),
    *((name, "summarization", "4bit") for name in ("t5", "bart")),
    *((name, "classification", "8bit") for name in ("bert", "gpt2", "t5")),
]
TEXT = "The broken parcel came from Leeds to my friend."
RECORDS = {
    "classification": [{"text": "it is late", "label": "bad"}, {"text": "it is here", "label": "good"}],
    "ner": [{"tokens": ["Ann", "is", "here"], "tags": ["B-PER", "O", "O"]}, {"tokens": ["no"], "tags": ["O"]}],
    "qa": [{"question": "Where?", "context": TEXT, "answers": {"text": ["Leeds"], "answer_start": [28]}}],
    "generation": [{"prompt": "my order", "completion": "is late"}, {"prompt": "where", "completion": "here"}],
    "summarization": [{"source": TEXT, "target": "a parcel"}, {"source": "the order of Ann", "target": "late"}],
    "regression": [{"text": "it is late", "label": 1.0}, {"text": "it is here", "label": 4.0}],
    "relation": [
        {"text": TEXT, "head": [11, 17], "tail": [28, 33], "label": "from"},
        {"text": TEXT, "head": [28, 33], "tail": [11, 17], "label": "other"},
    ],
    "multiple-choice": [
        {"question": "What is it?", "choices": ["a parcel", "Rome"], "answer": 0},
        {"question": "Where is it?", "choices": ["a parcel", "Rome"], "answer": 1},
    ],
}
TASKS = [
    *(("bert", task) for task in ("classification", "ner", "qa", "regression", "relation", "multiple-choice")),
    *(("llama", task) for task in ("generation", "multiple-choice")),
    ("t5", "summarization"),
]


def packed(model):
    """The paths of the quantized modules, without what PEFT wraps around them."""
    return {peft_bridge.original_name(path) for path, module in model.named_modules() if is_quantized(module)}


def stir(adapted, size=0.1):
    """Give an adaptation something that it may have learned."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in adapted.model.parameters():
            if parameter.requires_grad:
                parameter += torch.randn(parameter.shape, generator=generator) * size
    return adapted


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items() if torch.is_tensor(value)}


def same(before, module):
    after = module.state_dict()
    return all(torch.equal(value, after[name]) for name, value in before.items())


def learn(adapted, records, *, steps=6, **options):
    """The losses of steps on one batch."""
    rate = 3 * adapted.method.learning_rate
    rates = {"learning_rate": rate, "head_learning_rate": 3 * adapted.method.head_learning_rate}
    history = adapted.fit(records, epochs=steps, batch_tokens=10**6, **rates, **options)
    return [loss for _, loss in history.losses]


def logits(model, batch):
    with torch.no_grad():
        return model.eval()(**batch).logits.float()


def apart(one, other):
    return float((one - other).norm() / other.norm())


@pytest.fixture
def texts(messages):
    return [record["text"] for record in messages[:4]]


@pytest.fixture
def batch_of(texts):
    def make(adapted):
        task = adapted.task.name
        records = RECORDS[task] if task in ("generation", "summarization") else [{"text": text} for text in texts]
        examples = adapted.task.parse(adapted.task.read(records, labelled=False), labelled=False)
        batch = adapted.runner.collate(adapted.runner.encode(examples, targets=False))
        if task == "summarization":
            batch["decoder_input_ids"] = batch["input_ids"][:, :4]
        return batch

    return make


@pytest.fixture(scope="session")
def checkpoint(tiny, tmp_path_factory):
    """The folder of a checkpoint that transformers quantized, of a backbone, a language model, or with a head."""
    root = tmp_path_factory.mktemp("quantized")
    autos = {
        "bert": AutoModel,
        "llama": AutoModelForCausalLM,
        "gpt2": AutoModelForCausalLM,
        "t5": AutoModelForSeq2SeqLM,
    }

    def make(name, form, head=False):
        folder = root / f"{name}-{form}-{head}"
        if not folder.exists():
            source, auto, skipped = tiny(name), autos[name], None
            if head:
                auto, skipped, source = AutoModelForSequenceClassification, [], root / f"{name}-head"
                torch.manual_seed(2)
                auto.from_pretrained(tiny(name), num_labels=10).save_pretrained(source)
            config = BitsAndBytesConfig(**{f"load_in_{form}": True}, llm_int8_skip_modules=skipped)
            auto.from_pretrained(source, quantization_config=config).save_pretrained(folder)
            AutoTokenizer.from_pretrained(tiny(name)).save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def even(tiny, tmp_path_factory):
    """The folder of a tiny model whose matrices have shapes that bitsandbytes computes on every processor."""
    root = tmp_path_factory.mktemp("even")
    widths = {"gpt2": {"n_embd": 64}, "t5": {"d_model": 64, "d_ff": 128, "d_kv": 16}}

    def make(name, auto):
        folder = root / name
        if not folder.exists():
            config = AutoConfig.from_pretrained(tiny(name))
            config.update(widths.get(name, {"hidden_size": 64, "intermediate_size": 128, "head_dim": 16}))
            torch.manual_seed(1)
            auto.from_config(config).save_pretrained(folder)
            AutoTokenizer.from_pretrained(tiny(name)).save_pretrained(folder)
        return folder

    return make


# ---- which weights


@pytest.mark.parametrize(("name", "task", "form"), WHICH)
def test_the_projections_of_the_blocks_are_quantized_and_nothing_else(tiny, messages, name, task, form):
    labels = messages if task == "classification" else None
    adapted = la.adapt(tiny(name), task, labels=labels, quantize=form, dtype="bfloat16")
    with torch.device("meta"):
        plain = type(adapted.model)(adapted.model.config)
    linears = {path for path, module in plain.named_modules() if isinstance(module, (nn.Linear, Conv1D))}
    blocks = {path for path in linears if re.search(r"\.\d+\.", path) and not path.endswith(".wo")}
    assert packed(adapted.model) == blocks
    assert any(path.endswith(".wo") for path in linears - blocks) == (name == "t5")  # T5 reads its weight elsewhere
    kinds = {torch.uint8, torch.int8}
    for path, parameter in adapted.model.named_parameters():
        if parameter.requires_grad:
            assert parameter.dtype == torch.float32, path
        elif parameter.dtype not in kinds:
            assert parameter.dtype == torch.bfloat16 or path.endswith(".wo.weight"), path
    output, table = adapted.model.get_output_embeddings(), adapted.model.get_input_embeddings()
    if task != "classification":
        assert (output.weight is table.weight) == adapted.model.config.tie_word_embeddings


def test_a_fresh_pooler_is_trained_and_not_quantized(tiny, messages, tmp_path):
    folder = tmp_path / "headless"
    AutoModel.from_pretrained(tiny("bert"), add_pooling_layer=False).save_pretrained(folder)
    adapted = la.adapt(folder, "classification", labels=messages, quantize="4bit", tokenizer=str(tiny("bert")))
    pooler = adapted.model.bert.pooler.dense
    assert type(pooler) is nn.Linear
    assert pooler.weight.requires_grad


def test_the_packing_that_ends_training_in_silence_is_off(tiny, messages, tmp_path):
    adapted = la.adapt(tiny("bert"), "classification", labels=messages, quantize="4bit")
    adapted.save(tmp_path / "saved")
    instance = AutoModel.from_pretrained(tiny("bert"))
    again = [la.load(tmp_path / "saved"), la.adapt(instance, "classification", labels=messages, quantize="4bit")]
    for each in (adapted, *again):
        switches = [module.support_avx512bf16_for_cpu for module in each.model.modules() if is_quantized(module)]
        assert len(switches) == 18
        assert not any(switches)


CONFIGS = {
    "fp4": ({"load_in_4bit": True}, {"quant_type": "fp4", "compress_statistics": False}),
    "nf4": ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, {"quant_type": "nf4", "compress_statistics": False}),
    "storage": ({"load_in_4bit": True, "bnb_4bit_quant_storage": "float32"}, {"dtype": torch.float32}),
    "compute": ({"load_in_4bit": True, "bnb_4bit_compute_dtype": "bfloat16"}, {"dtype": torch.uint8}),
    "threshold": ({"load_in_8bit": True, "llm_int8_threshold": 1.0}, {"dtype": torch.int8}),
    "skips": (
        {"load_in_8bit": True, "llm_int8_skip_modules": ["query", "bert.encoder.layer.0"]},
        {"dtype": torch.int8},
    ),
}


@pytest.mark.parametrize(
    ("name", "from_folder"), [*((name, True) for name in CONFIGS), ("fp4", False), ("storage", False), ("skips", False)]
)
def test_a_config_of_transformers_keeps_what_it_says(tiny, messages, texts, tmp_path, name, from_folder):
    settings, expected = CONFIGS[name]
    config = BitsAndBytesConfig(**settings)
    before = config.to_dict()
    source = tiny("bert") if from_folder else AutoModel.from_pretrained(tiny("bert"))
    adapted = la.adapt(source, "classification", labels=messages, quantize=config)
    assert config.to_dict() == before
    paths = packed(adapted.model)
    assert len(paths) == (18 if name != "skips" else 10)
    assert not any(path.endswith("query") or "layer.0" in path for path in paths if name == "skips")
    layers = [module for module in adapted.model.modules() if is_quantized(module)]
    for layer in layers:
        assert {key: getattr(layer.weight, key) for key in expected} == expected
        if name == "compute":
            assert layer.compute_dtype == torch.bfloat16
        if name == "threshold":
            assert layer.state.threshold == 1.0
    adapted.fit(messages[:4], epochs=1)
    adapted.save(tmp_path / "saved")
    again = la.load(tmp_path / "saved")
    assert again.predict(texts, scores=True) == adapted.predict(texts, scores=True)


# ---- every method learns


@pytest.mark.parametrize(("name", "method", "form"), CASES)
def test_learns_after_an_evaluation_and_comes_back(tiny, messages, texts, tmp_path, name, method, form):
    adapted = la.adapt(tiny(name), "classification", METHODS[method], labels=messages, quantize=form)
    adapted.evaluate(messages[:2])
    trained = adapted.runner.adaptation.all_trained
    before = state(adapted.model)
    losses = learn(adapted, messages[:6])
    assert losses[-1] < losses[0]
    after = adapted.model.state_dict()
    moved = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert moved <= trained
    assert len(moved) > 0.9 * len(trained)
    adapted.save(tmp_path / "saved")
    assert la.load(tmp_path / "saved").predict(texts, scores=True) == adapted.predict(texts, scores=True)


@pytest.mark.parametrize(("name", "task"), TASKS)
def test_every_kind_of_task(tiny, tmp_path, name, task):
    records = RECORDS[task]
    adapted = la.adapt(tiny(name), task, quantize="4bit", dtype="float32")
    writes = task in ("generation", "summarization")  # which takes long
    steps = (
        60 if task in ("regression", "multiple-choice") else 6
    )  # the head of a tiny model hardly tells two texts apart at first
    losses = learn(adapted, records, steps=steps, validation=None if writes else records)
    assert losses[-1] < losses[0]
    adapted.save(tmp_path / "saved")
    again = la.load(tmp_path / "saved", dtype="float32")
    assert packed(again.model) == packed(adapted.model)
    assert again.predict(records) == adapted.predict(records)
    assert again.evaluate(records) == adapted.evaluate(records)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["lora", "prefix"])
def test_gradient_checkpointing_changes_nothing(tiny, messages, texts, form, method):
    results = []
    for checkpointed in (False, True):
        adapted = la.adapt(tiny("llama"), "classification", method, labels=messages, quantize=form)
        losses = learn(adapted, messages[:4], args={"gradient_checkpointing": checkpointed})
        results.append((losses, adapted.predict(texts, scores=True)))
    (losses, expected), (again, found) = results
    assert again == pytest.approx(losses, abs=1e-5)
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["vera", "oft", "adalora"])
def test_methods_of_peft_by_name(tiny, messages, texts, tmp_path, method, form):
    adapted = stir(la.adapt(tiny("bert"), "classification", method, labels=messages, quantize=form), 0.01)
    adapted.save(tmp_path / "saved")
    assert la.load(tmp_path / "saved").predict(texts, scores=True) == adapted.predict(texts, scores=True)


def test_norms_that_a_config_of_peft_saves_are_trained(tiny, messages):
    config = peft.LoraConfig(target_modules=["query"], modules_to_save=["LayerNorm"])
    adapted = la.adapt(tiny("bert"), "classification", config, labels=messages, quantize="4bit")
    before = adapted.model.bert.embeddings.LayerNorm.weight.detach().clone()
    learn(adapted, messages[:4])
    assert not torch.equal(adapted.model.bert.embeddings.LayerNorm.weight, before)


# ---- instances, and checkpoints that are quantized already


@pytest.mark.parametrize(
    ("name", "auto", "form"),
    [
        ("bert", AutoModel, "4bit"),
        ("bert", AutoModel, "8bit"),
        ("gpt2", AutoModelForCausalLM, "8bit"),
        ("t5", AutoModelForSeq2SeqLM, "4bit"),
    ],
)
def test_an_instance_of_another_class_stays_as_it_is(tiny, messages, texts, tmp_path, name, auto, form):
    model = auto.from_pretrained(tiny(name))
    before, kinds = state(model), [type(module) for module in model.modules()]
    adapted = la.adapt(model, "classification", labels=messages, quantize=form)
    assert packed(adapted.model)
    adapted.fit(messages[:4], epochs=1)
    assert same(before, model)
    assert [type(module) for module in model.modules()] == kinds
    assert getattr(model.config, "quantization_config", None) is None
    adapted.save(tmp_path / "saved")
    expected = adapted.predict(texts, scores=True)
    for base in (None, model):
        assert la.load(tmp_path / "saved", base=base).predict(texts, scores=True) == expected


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("name", "auto", "task"),
    [("bert", AutoModelForSequenceClassification, "classification"), ("llama", AutoModelForCausalLM, "generation")],
)
def test_an_instance_of_the_tasks_class_is_quantized_in_place(tiny, messages, name, auto, task, form):
    model = auto.from_pretrained(tiny(name), **({"num_labels": 10} if task == "classification" else {}))
    records = messages[:4] if task == "classification" else RECORDS[task]
    adapted = la.adapt(model, task, labels=messages if task == "classification" else None, quantize=form)
    assert adapted.model is model
    assert packed(model)
    adapted.predict(["where is it"])
    losses = learn(adapted, records)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("name", "form"), [("bert", "4bit"), ("bert", "8bit"), ("llama", "8bit"), ("gpt2", "4bit"), ("t5", "4bit")]
)
def test_a_quantized_checkpoint_stays_as_it_is(checkpoint, messages, texts, tmp_path, name, form):
    folder = checkpoint(name, form)
    auto = {"bert": AutoModel, "t5": AutoModelForSeq2SeqLM}.get(name, AutoModelForCausalLM)
    model = auto.from_pretrained(folder)
    before = state(model)
    weights = {module.weight.data.numpy().tobytes() for module in model.modules() if is_quantized(module)}
    adapted = la.adapt(folder, "classification", labels=messages)
    found = {module.weight.data.numpy().tobytes() for module in adapted.model.modules() if is_quantized(module)}
    assert found == weights
    adapted.predict(texts)
    losses = learn(adapted, messages[:4])
    assert losses[-1] < losses[0]
    adapted.save(tmp_path / "saved")
    expected = adapted.predict(texts, scores=True)
    assert la.load(tmp_path / "saved").predict(texts, scores=True) == expected
    assert la.load(tmp_path / "saved", base=model).predict(texts, scores=True) == expected
    assert same(before, model)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("name", "form"), [("bert", "4bit"), ("bert", "8bit"), ("t5", "4bit")])
def test_a_quantized_checkpoint_is_read_in_another_format(checkpoint, messages, texts, name, form, dtype):
    adapted = la.adapt(checkpoint(name, form), "classification", labels=messages, dtype=dtype)
    kinds = {
        parameter.dtype
        for path, parameter in adapted.model.named_parameters()
        if not parameter.requires_grad and parameter.dtype not in (torch.uint8, torch.int8) and ".wo." not in path
    }
    assert kinds == {getattr(torch, dtype)}
    assert len(adapted.predict(texts)) == len(texts)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("from_folder", [True, False])
def test_a_quantized_head_is_trained_in_float32(checkpoint, messages, texts, tmp_path, form, from_folder):
    folder = checkpoint("bert", form, head=True)
    model, reference = (AutoModelForSequenceClassification.from_pretrained(folder) for _ in range(2))
    assert is_quantized(model.classifier)
    batch = AutoTokenizer.from_pretrained(folder)(texts, return_tensors="pt", padding=True)
    keep_trainable(reference)  # bitsandbytes alone computes no matrix of ten rows where there is AVX512-BF16
    expected = logits(reference, batch)
    adapted = la.adapt(folder if from_folder else model, "classification", labels=messages)
    assert adapted.runner.adaptation.base.trained_head
    assert type(adapted.model.classifier) is nn.Linear
    torch.testing.assert_close(logits(adapted.model, batch), expected, atol=1e-2, rtol=0)
    losses = learn(adapted, messages[:4])
    assert losses[-1] < losses[0]
    if from_folder:
        adapted.save(tmp_path / "saved")
        assert la.load(tmp_path / "saved").predict(texts, scores=True) == adapted.predict(texts, scores=True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("task", "outputs"), [("classification", 2), ("ner", 5)])
def test_a_quantized_head_of_another_task_or_labels_starts_anew(checkpoint, form, task, outputs):
    labels = ["good", "bad"] if task == "classification" else ["PER", "LOC"]
    folder = checkpoint("bert", form, head=True)
    adapted = la.adapt(folder, task, labels=labels)
    head, again = adapted.model.classifier, la.adapt(folder, task, labels=labels).model.classifier
    assert not adapted.runner.adaptation.base.trained_head
    assert (type(head), head.out_features) == (nn.Linear, outputs)
    assert 0 < head.weight.std() < 0.1
    assert torch.equal(head.weight, again.weight)
    adapted.fit(RECORDS[task], epochs=1)


# ---- other precisions, other bases


@pytest.mark.parametrize(
    ("then", "now"), [("4bit", "none"), ("none", "4bit"), ("8bit", "none"), ("none", "8bit"), ("4bit", "8bit")]
)
def test_loading_in_another_precision_is_said_and_gives_about_the_same(tiny, batch_of, tmp_path, then, now):
    adapted = stir(la.adapt(tiny("llama"), "generation", quantize=then))
    adapted.save(tmp_path / "saved")
    with pytest.warns(UserWarning, match=r"was trained on .* and is loaded on .* Leave quantize out"):
        again = la.load(tmp_path / "saved", quantize=now)
    assert bool(packed(again.model)) == (now != "none")
    batch = batch_of(adapted)
    expected, found = logits(adapted.model, batch), logits(again.model, batch)
    assert 0 < apart(found, expected) < 0.25


def test_a_quantized_base_is_taken_as_it_is(tiny, checkpoint, messages, texts, tmp_path):
    la.adapt(tiny("bert"), "classification", labels=messages, quantize="4bit").save(tmp_path / "saved")
    with pytest.warns(UserWarning, match="was trained on 4bit .* and is loaded on 8bit .* Pass base="):
        again = la.load(tmp_path / "saved", base=checkpoint("bert", "8bit"))
    assert {module.weight.dtype for module in again.model.modules() if is_quantized(module)} == {torch.int8}
    assert again.predict(texts)


@pytest.mark.parametrize("now", ["4bit", "8bit"])
def test_another_base_is_refused_though_its_matrices_are_quantized(tiny, messages, tmp_path, now):
    la.adapt(tiny("bert"), "classification", labels=messages, quantize="4bit").save(tmp_path / "saved")
    other = AutoModel.from_pretrained(tiny("bert"))
    other.embeddings.word_embeddings.weight.data *= 1.02
    said = pytest.warns(UserWarning, match="is loaded on 8bit") if now == "8bit" else nullcontext()
    with said, pytest.raises(la.ArtifactError, match="another base"):
        la.load(tmp_path / "saved", base=other, quantize=now)


# ---- several adaptations


def test_adaptations_share_a_quantized_base(tiny, messages, texts, tmp_path):
    adapted = la.adapt(tiny("bert"), "ner", labels=messages, quantize="4bit")
    methods = ("lora", "prefix")
    for method in methods:
        adapted.add(method, task="classification", method=METHODS[method], labels=messages)
    weights = [
        {id(module.weight) for module in adapted.use(name).model.modules() if is_quantized(module)}
        for name in adapted.names
    ]
    assert len(weights[0]) == 18
    assert all(each == weights[0] for each in weights)
    first = adapted.use("default").predict(texts)
    for method in methods:
        learn(adapted.use(method), messages[:4])
        alone = la.adapt(tiny("bert"), "classification", METHODS[method], labels=messages, quantize="4bit")
        learn(alone, messages[:4])
        assert adapted.predict(texts, scores=True) == alone.predict(texts, scores=True), method
    assert adapted.use("default").predict(texts) == first
    merged = adapted.use("lora").merge(base="dequantize")
    assert not packed(merged)
    assert len(packed(adapted.model)) == 18


# ---- merging

FOLDED = [
    ("llama", "generation", "4bit"),
    ("llama", "generation", "8bit"),
    ("gpt2", "generation", "4bit"),
    ("t5", "summarization", "8bit"),
]
BOUNDS = {"reload": 0.25, "dequantize": 0.02, "quantized": 0.5}
"""How far the outputs may move: by what quantization took away, by bfloat16, by rounding to 4 or 8 bits once more."""


@pytest.mark.parametrize("base", BOUNDS)
@pytest.mark.parametrize(("name", "task", "form"), FOLDED)
@pytest.mark.filterwarnings("ignore:The adapter was folded into")
def test_what_is_folded_gives_about_the_same_and_is_a_plain_model(even, batch_of, tmp_path, name, task, base, form):
    auto = AutoModelForSeq2SeqLM if name == "t5" else AutoModelForCausalLM
    adapted = stir(la.adapt(even(name, auto), task, quantize=form, dtype="float32"), 0.05)
    batch, before = batch_of(adapted), state(adapted.model)
    expected = logits(adapted.model, batch)
    merged = adapted.merge(base=base, max_drift=BOUNDS[base])
    found = logits(merged, batch)
    assert 0 < apart(found, expected) < BOUNDS[base]
    assert same(before, adapted.model)
    assert torch.equal(logits(adapted.model, batch), expected)
    assert bool(packed(merged)) == (base == "quantized")
    assert merged.dtype == (torch.float32 if base == "quantized" else torch.bfloat16)
    assert not peft_bridge.Adapter(merged, peft_bridge.ADAPTER).modules
    merged.save_pretrained(tmp_path)
    again = type(merged).from_pretrained(tmp_path)
    assert packed(again) == packed(merged)
    assert apart(logits(again, batch), found) < 0.01


@pytest.mark.filterwarnings("ignore:The adapter was folded into")
def test_an_instance_that_is_folded_as_it_is_can_be_read_again(even, batch_of, tmp_path):
    folder = even("bert", AutoModel)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    adapted = stir(la.adapt(model, "classification", quantize="4bit", tokenizer=folder, labels=["a", "b"]), 0.05)
    merged = adapted.merge(base="quantized", max_drift=1)
    merged.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert packed(again) == packed(merged) != set()
    assert apart(logits(again, batch_of(adapted)), logits(merged, batch_of(adapted))) < 0.01


@pytest.mark.parametrize("method", ["lora", "layernorm", "ia3"])
def test_a_plain_base_in_half_precision_can_be_folded_into_another_format(tiny, messages, batch_of, method):
    adapted = stir(la.adapt(tiny("bert"), "classification", method, labels=messages, dtype="bfloat16"), 0.05)
    for dtype in (torch.bfloat16, torch.float32):
        merged = adapted.merge(dtype=dtype)
        assert {parameter.dtype for parameter in merged.parameters()} == {dtype}
        assert apart(logits(merged, batch_of(adapted)), logits(adapted.model, batch_of(adapted))) < 0.1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", ["lora", "ia3", "layernorm", "bitfit", "prefix", "adalora"])
def test_learning_beside_half_precision(tiny, messages, method, form):
    adapted = la.adapt(tiny("bert"), "classification", method, labels=messages, quantize=form, dtype="bfloat16")
    adapted.fit(messages[:8], epochs=1)
    assert adapted.predict(["it is late"])[0] in adapted.labels


@pytest.mark.parametrize(
    ("method", "form"),
    [*((method, "4bit") for method in ("lora", "dora", "ia3", "bitfit", "layernorm")), ("lora", "8bit")],
)
def test_dequantized_in_float32_nothing_is_lost(tiny, messages, batch_of, method, form):
    adapted = stir(la.adapt(tiny("bert"), "classification", method, labels=messages, quantize=form, dtype="float32"))
    expected = logits(adapted.model, batch_of(adapted))
    # LLM.int8 rounds what goes in, too, which the values of its weights do not.
    bound = {"atol": 1e-5 if form == "4bit" else 2e-2, "rtol": 0}
    merged = adapted.merge(base="dequantize", dtype="float32")
    torch.testing.assert_close(logits(merged, batch_of(adapted)), expected, **bound)


def test_a_regression_is_folded_with_its_scale(tiny, tmp_path):
    adapted = la.adapt(tiny("bert"), "regression", quantize="4bit")
    adapted.fit(RECORDS["regression"], epochs=1)
    expected = adapted.predict(["it is late", "where"])
    merged = adapted.merge(base="dequantize", dtype="float32")
    merged.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    batch = adapted.tokenizer(["it is late", "where"], return_tensors="pt", padding=True)
    assert logits(again, batch).flatten().tolist() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("base", ["reload", "dequantize"])
def test_folding_leaves_an_instance_as_it_is(tiny, messages, base):
    model = AutoModel.from_pretrained(tiny("bert"))
    before = state(model)
    merged = stir(la.adapt(model, "classification", labels=messages, quantize="4bit")).merge(base=base)
    with torch.no_grad():
        for parameter in merged.parameters():
            parameter += 1
    assert same(before, model)


def test_folding_into_quantized_weights_says_what_it_costs(tiny):
    adapted = stir(la.adapt(tiny("llama"), "generation", quantize="4bit"), 0.05)
    with pytest.warns(UserWarning, match=r"on a probe batch the outputs moved by \d+\.\d%"):
        adapted.merge(base="quantized", max_drift=1)


REFUSED = [
    ("lora", {"base": "dequantise"}, "Did you mean 'dequantize'? Known: reload, dequantize, quantized"),
    ("lora", {"max_drift": 1e-6}, "more than max_drift=1e-06. Try base='dequantize', allow more, or ship the artifact"),
    ("lora", {"base": "quantized", "max_drift": 0}, "Try base='reload'"),
    ("lora", {"max_drift": -1}, "max_drift=-1"),
    ("lora", {"max_drift": float("nan")}, "max_drift=nan): give a number of at least 0"),
    ("lora", {"max_drift": "0.1"}, "max_drift='0.1'"),
    ("lora", {"base": "quantized", "dtype": "bfloat16"}, "a quantized model keeps its number formats"),
    ("lora", {"dtype": "float61"}, "dtype='float61' is unknown"),
    (
        "ia3",
        {"base": "quantized"},
        "cannot be folded into 8bit weights (PEFT does not have it). Write merge(base='reload')",
    ),
    ("loha", {"base": "quantized"}, "cannot be folded into 8bit weights"),
    ("pfeiffer", {"base": "quantized"}, "BottleneckLayer is not a change of weights). Ship the artifact instead"),
    ("prefix", {}, "cannot be folded into the weights"),
    ("prompt", {"base": "dequantize"}, "cannot be folded into the weights"),
]


@pytest.mark.parametrize(("method", "options", "message"), REFUSED, ids=[f"{m}-{o}" for m, o, _ in REFUSED])
def test_what_cannot_be_folded(tiny, messages, texts, method, options, message):
    adapted = la.adapt(tiny("llama"), "classification", METHODS.get(method, method), labels=messages, quantize="8bit")
    expected = stir(adapted).predict(texts, scores=True)
    with pytest.raises(la.LightAdaptError) as caught:
        adapted.merge(**options)
    assert message in str(caught.value)
    assert adapted.predict(texts, scores=True) == expected


def test_outputs_that_are_no_numbers_have_drifted(tiny, messages, monkeypatch):
    adapted = la.adapt(tiny("bert"), "classification", labels=messages, quantize="4bit")
    monkeypatch.setattr(merging, "drift", lambda *_: float("nan"))
    with pytest.raises(la.LightAdaptError, match="away from those of the adapted"):
        as_learned(adapted).merge()


@pytest.mark.parametrize("kind", ["checkpoint", "instance"])
def test_what_was_never_there_is_not_loaded_again(tiny, checkpoint, kind):
    if kind == "checkpoint":
        adapted = la.adapt(checkpoint("llama", "4bit"), "generation")
    else:
        adapted = la.adapt(AutoModelForCausalLM.from_pretrained(tiny("llama")), "generation", quantize="4bit")
    with pytest.raises(
        la.LightAdaptError, match=r"are not there to be loaded again\. Write merge\(base='dequantize'\)"
    ):
        adapted.merge()
    assert not packed(adapted.merge(base="dequantize"))


# ---- optimizers


@pytest.fixture(scope="module")
def wider():
    """A backbone with matrices of 4,096 values, from which on bitsandbytes keeps the state in 8 bits."""
    torch.manual_seed(1)
    shape = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 128}
    return BertModel(BertConfig(vocab_size=400, max_position_embeddings=66, **shape))


class Watch(TrainerCallback):
    """Notes the number formats of an optimizer's state."""

    def on_step_end(self, args, state, control, optimizer=None, **kwargs):
        values = [value for entry in optimizer.state.values() for value in entry.values() if torch.is_tensor(value)]
        self.dtypes = {value.dtype for value in values if value.numel() > 1}


def test_an_optimizer_with_a_state_of_8_bits_learns_the_same(wider, messages, tokenizers):
    losses = {}
    for optimizer in ("adamw", "adamw8bit", "paged_adamw8bit"):
        adapted, watch = (
            la.adapt(wider, "classification", "full", labels=messages, tokenizer=tokenizers("word")),
            Watch(),
        )
        losses[optimizer] = learn(adapted, messages[:8], optimizer=optimizer, callbacks=watch)
        assert (torch.uint8 in watch.dtypes) == (optimizer != "adamw")
        assert losses[optimizer][-1] < losses[optimizer][0] - 0.1
        assert losses[optimizer] == pytest.approx(losses["adamw"], rel=0.02)


OPTIMIZERS = [
    ("adamw8", {}, "optimizer='adamw8' is unknown. Did you mean 'adamw'? Known: adamw, adamw8bit, paged_adamw8bit"),
    ("adamw_8bit", {}, "Did you mean 'adamw8bit'?"),
    (8, {}, "optimizer=8 is unknown"),
    ("adamw8bit", {"args": {"optim": "adafactor"}}, "optim is given twice: 'adamw_bnb_8bit' to fit and 'adafactor'"),
]


@pytest.mark.parametrize(("optimizer", "options", "message"), OPTIMIZERS)
def test_bad_optimizers(tiny, messages, optimizer, options, message):
    adapted = la.adapt(tiny("bert"), "classification", labels=messages)
    with pytest.raises(la.LightAdaptError) as caught:
        adapted.fit(messages, optimizer=optimizer, **options)
    assert message in str(caught.value)


# ---- refusals

BOTH = BitsAndBytesConfig(load_in_4bit=True)
BOTH._load_in_8bit = True
BAD = [
    ("lora", "4-bit", "quantize='4-bit' is unknown. Did you mean '4bit'? Give '4bit', '8bit', or a BitsAndBytesConfig"),
    ("lora", "int8", "quantize='int8' is unknown"),
    ("lora", True, "quantize=True is unknown"),
    ("lora", 4, "quantize=4 is unknown"),
    ("lora", {"load_in_4bit": True}, "Give '4bit', '8bit', or a BitsAndBytesConfig"),
    ("lora", BitsAndBytesConfig(), "(load_in_4bit=False, load_in_8bit=False): set one of the two"),
    ("lora", BOTH, "(load_in_4bit=True, load_in_8bit=True): set one of the two"),
    ("lora", BitsAndBytesConfig(load_in_8bit=True, llm_int8_has_fp16_weight=True), "keep weights unquantized"),
    ("lora", BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf3"), "4bit (nf3) does not work on cpu"),
    (
        "lora",
        BitsAndBytesConfig(load_in_4bit=True, llm_int8_skip_modules=["bert"]),
        "the blocks have no linear projection that could be quantized",
    ),
    ("full", "4bit", "changes the weights themselves, which 4bit weights cannot take. Use method='lora'"),
    (la.LoRA(init="pissa"), "8bit", "changes the weights themselves, which 8bit weights cannot take"),
    (
        peft.LoraConfig(target_modules=["query"], modules_to_save=["intermediate.dense"]),
        "4bit",
        "changes the weights themselves",
    ),
    ("dora", "8bit", "Try quantize='4bit'; or: use method='lora' or 'bottleneck', or leave quantize out"),
    ("loha", "4bit", "Try quantize='8bit'; or: use method='lora'"),
    ("hra", "8bit", "away from what it gives on plain weights). Use method='lora' or 'bottleneck'"),
    (la.LoRA(init="orthogonal"), "4bit", "does not work on 4bit weights"),
]


@pytest.mark.parametrize(("method", "quantize", "message"), BAD, ids=[text[:40] for *_, text in BAD])
def test_what_cannot_be_quantized_is_refused(tiny, no_weights, method, quantize, message):
    with pytest.raises(la.LightAdaptError) as caught:
        la.adapt(tiny("bert"), "classification", method, labels=["a", "b"], quantize=quantize, device="cpu")
    assert message in str(caught.value)


@pytest.mark.parametrize("quantize", ["8bit", "none", BitsAndBytesConfig(load_in_8bit=True)])
def test_a_quantized_checkpoint_in_another_precision_is_refused(checkpoint, request, quantize):
    folder = checkpoint("bert", "4bit")
    request.getfixturevalue("no_weights")
    with pytest.raises(la.LightAdaptError, match=r"is quantized already \(4bit\)\. Leave quantize out"):
        la.adapt(folder, "classification", labels=["a", "b"], quantize=quantize)


@pytest.mark.parametrize("device", ["meta", "mps", "xpu"])
def test_devices_that_do_not_compute_on_it(tiny, no_weights, device):
    with pytest.raises(la.LightAdaptError, match=f"not supported on device '{device}', but on cpu and cuda"):
        check_device(Quantization.named("4bit"), torch.device(device))
    with pytest.raises(la.LightAdaptError, match="device"):
        la.adapt(tiny("bert"), "classification", labels=["a", "b"], quantize="4bit", device=device)


def test_without_bitsandbytes_the_way_out_is_said(tiny, checkpoint, messages, texts, tmp_path, monkeypatch):
    adapted = la.adapt(tiny("bert"), "classification", labels=messages, quantize="4bit")
    adapted.save(tmp_path / "saved")
    config, folder = BitsAndBytesConfig(load_in_8bit=True), checkpoint("bert", "4bit")
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    install = r'Install it: pip install "lightadapt\[quant\]"; or '
    for quantize in ("4bit", "8bit", config):
        with pytest.raises(la.LightAdaptError, match=rf"{install}leave quantize out"):
            la.adapt(tiny("bert"), "classification", labels=messages, quantize=quantize)
    with pytest.raises(la.LightAdaptError, match=rf"A checkpoint in 4bit needs .*{install}choose one"):
        la.adapt(folder, "classification", labels=messages)
    with pytest.raises(la.LightAdaptError, match=rf"optimizer='adamw8bit' needs .*{install}leave optimizer out"):
        la.adapt(tiny("bert"), "classification", labels=messages).fit(messages, optimizer="adamw8bit")
    with pytest.raises(la.LightAdaptError, match=rf"trained on 4bit weights, needs .*{install}pass quantize='none'"):
        la.load(tmp_path / "saved")
    with pytest.warns(UserWarning, match="is loaded on weights that are not quantized"):
        assert la.load(tmp_path / "saved", quantize="none").predict(texts)


@pytest.mark.parametrize("saved", [{"name": "5bit", "settings": {}}, {"name": "4bit"}, "4bit"])
def test_a_damaged_note_of_the_precision_is_found(tiny, messages, tmp_path, saved):
    la.adapt(tiny("bert"), "classification", labels=messages, quantize="4bit").save(tmp_path / "saved")
    rewrite(tmp_path / "saved", "lightadapt.json", lambda manifest: manifest.update(quantize=saved))
    with pytest.raises(la.ArtifactError, match="is damaged: it says quantize="):
        la.load(tmp_path / "saved")


# ---- on a GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("form", FORMS)
def test_learns_on_a_gpu(tiny, messages, texts, tmp_path, form):
    adapted = la.adapt(tiny("llama"), "classification", labels=messages, quantize=form, device="cuda")
    adapted.evaluate(messages[:2])
    losses = learn(adapted, messages[:6], optimizer="paged_adamw8bit")
    assert losses[-1] < losses[0]
    adapted.save(tmp_path / "saved")
    assert la.load(tmp_path / "saved").predict(texts) == adapted.predict(texts)
    assert not packed(adapted.merge(base="dequantize"))


def test_a_base_that_differs_in_packed_weights_alone_is_warned_about(tiny, messages, tmp_path):
    la.adapt(tiny("bert"), "classification", labels=messages, quantize="4bit").save(tmp_path / "saved")
    other = AutoModel.from_pretrained(tiny("bert"))
    with torch.no_grad():
        other.encoder.layer[0].output.dense.weight += 1
    with pytest.warns(UserWarning, match="are not those that"):
        la.load(tmp_path / "saved", base=other)


@pytest.mark.parametrize("settings", [{"foo": 1}, {"llm_int8_skip_modules": 3}, {"load_in_8bit": True}, 4])
def test_a_damaged_note_of_the_form(tiny, messages, tmp_path, settings):
    la.adapt(tiny("bert"), "classification", labels=messages, quantize="4bit").save(tmp_path)
    rewrite(tmp_path, "lightadapt.json", lambda manifest: manifest["quantize"].update(settings=settings))
    with pytest.raises(la.ArtifactError, match="is damaged: it says quantize="):
        la.load(tmp_path)


def test_a_folded_regression_with_a_large_mean_survives_saving(tiny, tmp_path):
    records = [{"text": text, "label": 2000.0 + number} for number, text in enumerate(("bad", "so so", "good"))]
    adapted = la.adapt(tiny("bert"), "regression", quantize="4bit")
    adapted.fit(records, epochs=2)
    merged = adapted.merge()
    merged.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    batch = adapted.tokenizer(["bad", "good"], return_tensors="pt", padding=True)
    torch.testing.assert_close(logits(again, batch), logits(merged, batch))
    assert merged.dtype == torch.float32


def test_a_model_from_nowhere_gets_no_name(tiny, messages):
    model = AutoModel.from_config(BertConfig.from_pretrained(tiny("bert")))
    model.name_or_path = model.config._name_or_path = ""
    adapted = as_learned(
        la.adapt(model, "classification", labels=messages, quantize="4bit", tokenizer=str(tiny("bert")))
    )
    assert adapted.model.name_or_path == adapted.merge(base="dequantize").name_or_path == ""
    with pytest.raises(la.LightAdaptError, match="has no tokenizer with it"):
        la.adapt(adapted.merge(base="dequantize"), "classification")
