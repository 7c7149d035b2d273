"""Tiny random models with real tokenizers, made once for the whole run; nothing is downloaded."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from lightadapt import sample

torch.set_num_threads(1)

SPECIALS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
VOCABULARY = 400
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 66,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
ARCHITECTURES = {
    "bert": SMALL,
    "roberta": SMALL,
    "distilbert": {
        "vocab_size": VOCABULARY,
        "dim": 32,
        "n_layers": 3,
        "n_heads": 4,
        "hidden_dim": 48,
        "max_position_embeddings": 66,
    },
    "deberta-v2": {
        **SMALL,
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 16,
        "share_att_key": True,
        "position_biased_input": False,
        "type_vocab_size": 0,
        "pooler_hidden_size": 32,
    },
    "modernbert": {
        **SMALL,
        "cls_token_id": 1,
        "sep_token_id": 2,
        "local_attention": 8,
        "global_attn_every_n_layers": 2,
    },
    "electra": {**SMALL, "embedding_size": 16},
}
"""The six architectures that every check runs over."""

TOKENIZERS = {"roberta": "byte", "modernbert": "byte", "deberta-v2": "metaspace"}
"""The kind of tokenizer an architecture has in the wild; word pieces for the others."""


def build_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A small tokenizer of one of the three common kinds, trained on the sample data."""
    if kind == "word":
        core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        core.normalizer = normalizers.BertNormalizer()
        core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        core.decoder = decoders.WordPiece()
        trainer: trainers.Trainer = trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=SPECIALS)
    elif kind == "byte":
        core = Tokenizer(models.BPE(unk_token="[UNK]"))
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIALS, initial_alphabet=alphabet)
    else:
        core = Tokenizer(models.Unigram())
        core.pre_tokenizer = pre_tokenizers.Metaspace()
        core.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=VOCABULARY, special_tokens=SPECIALS, unk_token="[UNK]")
    core.train_from_iterator([record["text"] for record in sample.records("train")], trainer)
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "attention_mask"],
    )


@pytest.fixture(scope="session")
def tokenizers() -> Callable[[str], PreTrainedTokenizerFast]:
    built = {kind: build_tokenizer(kind) for kind in ("word", "byte", "metaspace")}
    return built.__getitem__


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, tokenizers) -> Callable[[str], Path]:
    """The folder of a tiny pretrained backbone of an architecture."""
    root = tmp_path_factory.mktemp("models")
    folders: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in folders:
            torch.manual_seed(1)
            folder = root / name
            AutoModel.from_config(AutoConfig.for_model(name, **ARCHITECTURES[name])).save_pretrained(folder)
            tokenizers(TOKENIZERS.get(name, "word")).save_pretrained(folder)
            folders[name] = folder
        return folders[name]

    return make


@pytest.fixture(scope="session")
def messages() -> list[dict]:
    """A few records of the sample data that hold every label."""
    return sample.records("train")[:60]
