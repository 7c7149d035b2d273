"""GGUF: what cannot be written is refused; llama.cpp writes the same text where it is installed."""

from __future__ import annotations

import shutil

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import lightadapt as la
from lightadapt import sample
from lightadapt.export import Gguf, llama_cpp
from lightadapt.export.gguf_adapter import product_of

PACKAGES = ("convert_hf_to_gguf", "sentencepiece", "xllamacpp")


@pytest.fixture
def everything_there(monkeypatch):
    monkeypatch.setattr(Gguf, "packages", ())


@pytest.mark.usefixtures("everything_there")
@pytest.mark.parametrize(("name", "task"), [("bert", "ner"), ("t5", "summarization"), ("llama", "multiple-choice")])
def test_what_writes_no_text_is_refused(settled, tmp_path, name, task):
    adapted, _ = settled(name, task)
    with pytest.raises(la.LightAdaptError, match="decoders that write text"):
        adapted.export(tmp_path / "out", "gguf")


def test_forms_of_weights_are_checked():
    with pytest.raises(la.LightAdaptError, match="Did you mean 'q8_0'"):
        Gguf(quantize="q8_")


def test_an_adapter_alone_holds_products_alone(tiny, messages, tmp_path, monkeypatch):
    monkeypatch.setattr(Gguf, "packages", ())
    with pytest.raises(la.LightAdaptError, match="is for models, and an adapter alone"):
        Gguf(quantize="q4_k_m", adapter_only=True)
    records = [{"prompt": "a", "completion": "b"}]
    method = la.LoRA(targets=["q_proj"])
    adapted = la.adapt(tiny("llama"), "generation", method=method)
    adapted.runner.settle(adapted.runner.prepare(records).task)
    adapted.runner.adaptation.trained = {"model.norm.weight"}
    with pytest.raises(la.LightAdaptError, match="trained as a whole"):
        adapted.export(tmp_path / "out", Gguf(adapter_only=True))
    prefix = la.adapt(tiny("llama"), "generation", method="prefix")
    with pytest.raises(la.LightAdaptError, match="'prefix' cannot be written as plain LoRA"):
        prefix.export(tmp_path / "out", "lora-gguf")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ("gguf", "Method 'prefix' cannot be folded into the weights"),
        ("lora-gguf", r"export\('lora-gguf'\): method 'prefix' cannot be written as plain LoRA"),
    ],
)
def test_what_can_never_be_is_said_before_packages_are_asked_for(settled, tmp_path, monkeypatch, format, message):
    monkeypatch.setattr(Gguf, "packages", ("no_such_package",))
    adapted, _ = settled("llama", "generation", method="prefix")
    with pytest.raises(la.LightAdaptError, match=message):
        adapted.export(tmp_path / "out", format)
    adapted, _ = settled("llama", "generation")
    with pytest.raises(la.LightAdaptError, match=f"Format '{format}' needs no_such_package"):
        adapted.export(tmp_path / "out", format)


def test_fewer_bits_need_a_quantizer(settled, tmp_path, monkeypatch):
    monkeypatch.setattr(Gguf, "packages", ())
    monkeypatch.setattr(llama_cpp, "PROGRAM", "no-such-program")
    monkeypatch.setattr(llama_cpp, "BINDINGS", "no_such_package")
    adapted, _ = settled("llama", "generation")
    with pytest.raises(la.LightAdaptError, match="pip install llama-cpp-python"):
        adapted.export(tmp_path / "out", "gguf", quantize="q4_k_m")
    assert list(tmp_path.iterdir()) == []


def test_the_program_of_llama_is_asked_first(tmp_path, monkeypatch):
    program = tmp_path / "llama-quantize"
    program.write_text('#!/bin/sh\n[ "$3" = Q4_K_M ] || { echo "no such form" >&2; exit 3; }\ncp "$1" "$2"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / "whole.gguf").write_text("weights")
    llama_cpp.quantize(tmp_path / "whole.gguf", tmp_path / "small.gguf", "q4_k_m", 1)
    assert (tmp_path / "small.gguf").read_text() == "weights"
    with pytest.raises(la.LightAdaptError, match="no such form"):
        llama_cpp.quantize(tmp_path / "whole.gguf", tmp_path / "other.gguf", "q6_k", 1)


def test_a_product_is_found_again():
    torch.manual_seed(0)
    matrix = torch.randn(40, 3) @ torch.randn(3, 30)
    for rank in (3, 5):
        down, up = product_of(matrix, rank)
        assert (len(down), up.shape[1]) == (rank, rank)
        torch.testing.assert_close(up @ down, matrix, rtol=1e-5, atol=1e-5)
    down, up = product_of(torch.zeros(2, 30), 4)  # of fewer rows than the rank
    assert (up @ down).abs().max() == 0


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    """A small decoder that llama.cpp knows, and records that it has learned."""
    for package in PACKAGES:
        pytest.importorskip(package)
    import sentencepiece
    from transformers import LlamaTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    texts = [record["text"] for record in sample.records("train")]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=400,
        model_type="bpe",
        byte_fallback=True,
    )
    tokenizer = LlamaTokenizer.from_pretrained(folder)
    torch.manual_seed(1)
    config = AutoConfig.for_model(
        "llama",
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = AutoModelForCausalLM.from_config(config)
    method = la.LoRA(targets="all-linear")
    adapted = la.adapt(model, la.Generation(max_new_tokens=40), method, tokenizer=tokenizer, dtype="float32")
    labels = [{"prompt": each["text"], "completion": " ".join([each["label"]] * 6)} for each in sample.records("train")]
    adapted.fit(labels[:200], epochs=4, learning_rate=5e-3)
    return adapted, labels[:10]


FORMS = [
    ({"quantize": "f32"}, "model.gguf"),
    ({"quantize": "f32", "adapter_only": True}, "adapter.gguf"),
    ({"quantize": "q8_0"}, "model.gguf"),
    ({"quantize": "q4_k_m"}, "model.gguf"),
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:What was exported")
@pytest.mark.parametrize(("options", "file"), FORMS, ids=str)
def test_llama_writes_the_same_text(chat, tmp_path, options, file):
    adapted, records = chat
    if options["quantize"] == "q4_k_m" and shutil.which(llama_cpp.PROGRAM) is None:
        pytest.importorskip(llama_cpp.BINDINGS)
    texts = adapted.predict([{"prompt": each["prompt"]} for each in records])
    with adapted.disable():
        assert texts != adapted.predict([{"prompt": each["prompt"]} for each in records])
    assert min(map(len, texts)) > 10
    exported = adapted.export(tmp_path / "out", Gguf(**options), check=records)
    assert exported.equal >= (0.9 if options["quantize"] == "f32" else 0.5)  # its cache has 16 bits
    assert {each.name for each in (tmp_path / "out").iterdir()} == {file, "lightadapt_export.json"}
