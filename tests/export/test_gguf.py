"""GGUF: what cannot be written is refused; llama.cpp writes the same text where it is installed."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import lightadapt as la
from lightadapt import sample
from lightadapt.export import Gguf

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


@pytest.mark.slow
def test_llama_writes_the_same_text(tmp_path):
    for package in PACKAGES:
        pytest.importorskip(package)
    import sentencepiece
    from transformers import LlamaTokenizer

    texts = [record["text"] for record in sample.records("train")]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(tmp_path / "tokenizer"),
        vocab_size=400,
        model_type="bpe",
        byte_fallback=True,
    )
    tokenizer = LlamaTokenizer.from_pretrained(tmp_path)
    torch.manual_seed(1)
    config = AutoConfig.for_model(
        "llama",
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = AutoModelForCausalLM.from_config(config)
    adapted = la.adapt(model, la.Generation(max_new_tokens=6), tokenizer=tokenizer, dtype="float32")
    records = [{"prompt": each["text"], "completion": each["label"]} for each in sample.records("train")[:200]]
    adapted.fit(records, epochs=2, learning_rate=5e-3)
    exported = adapted.export(tmp_path / "out", Gguf(quantize="f32"), check=records[:10])
    assert exported.equal >= 0.9  # its cache has 16 bits
    assert {file.suffix for file in (tmp_path / "out").iterdir()} == {".gguf", ".json"}
