"""Tiny models and their tokenizers: how they are configured and made; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedTokenizerFast

from lightadapt import sample

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

LANGUAGE_MODELS = {
    "llama": {**SMALL, "num_key_value_heads": 2},
    "granite": {**SMALL, "num_key_value_heads": 2},
    "qwen2": {**SMALL, "vocab_size": VOCABULARY + 8, "num_key_value_heads": 2},
    "qwen3": {**SMALL, "vocab_size": VOCABULARY + 8, "num_key_value_heads": 2, "head_dim": 8},
    "gpt2": {
        "vocab_size": VOCABULARY,
        "n_embd": 32,
        "n_layer": 3,
        "n_head": 4,
        "n_positions": 66,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "t5": {
        "vocab_size": VOCABULARY,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 48,
        "num_layers": 2,
        "num_heads": 4,
        "pad_token_id": 0,
        "eos_token_id": 2,
        "decoder_start_token_id": 0,
    },
    **{
        name: {
            "vocab_size": VOCABULARY,
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "max_position_embeddings": 66,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": start,
            "forced_eos_token_id": 2,
        }
        for name, start in (("bart", 2), ("mbart", 2), ("pegasus", 0), ("marian", 0))
    },
}
"""Decoders and encoder-decoders: with grouped heads, tied and untied output layers, all kinds of start tokens."""
ENCODER_DECODERS = ("t5", "bart", "mbart", "pegasus", "marian")

TOKENIZERS = {
    "roberta": "byte",
    "modernbert": "byte",
    "deberta-v2": "metaspace",
    "llama": "llama",
    "qwen2": "gpt2",
    "qwen3": "gpt2",
    "granite": "gpt2",
    "gpt2": "gpt2",
    "t5": "t5",
    "pegasus": "t5",
    "marian": "t5",
    "bart": "bart",
    "mbart": "bart",
}
"""The kind of tokenizer an architecture has in the wild; word pieces for the others."""
NAMED = {
    "llama": {"bos_token": "[CLS]", "eos_token": "[SEP]", "unk_token": "[UNK]"},
    "gpt2": {"bos_token": "[CLS]", "eos_token": "[SEP]", "pad_token": "[SEP]"},
    "t5": {"pad_token": "[PAD]", "eos_token": "[SEP]", "unk_token": "[UNK]"},
    "bart": {
        "pad_token": "[PAD]",
        "bos_token": "[CLS]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "eos_token": "[SEP]",
        "unk_token": "[UNK]",
    },
}
"""The special tokens by kind: Llama's begins texts and neither ends nor pads them, GPT-2's pads with the end token."""
TEMPLATES = {
    "llama": ("[CLS] $A", "[CLS] $A $B:1"),
    "gpt2": ("$A", "$A $B:1"),
    "t5": ("$A [SEP]", "$A [SEP] $B:1 [SEP]:1"),
}
ALPHABET = {"llama": "byte", "gpt2": "byte", "t5": "metaspace", "bart": "byte"}


def build_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A small tokenizer: word pieces, bytes, sentence pieces, characters, or as a language model has it."""
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
    elif kind == "character":
        core = Tokenizer(models.WordLevel({**dict(zip(SPECIALS, range(5), strict=True)), "a": 5}, unk_token="[UNK]"))
        core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        trainer = trainers.WordLevelTrainer(vocab_size=VOCABULARY, special_tokens=SPECIALS)
    elif kind in ALPHABET:
        core = build_tokenizer(ALPHABET[kind]).backend_tokenizer
        if kind in TEMPLATES:
            single, pair = TEMPLATES[kind]
            core.post_processor = processors.TemplateProcessing(
                single=single, pair=pair, special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
            )
        return PreTrainedTokenizerFast(tokenizer_object=core, **NAMED[kind])
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


def character_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are the characters of the texts."""
    names = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *sorted(set("".join(texts)))]
    core = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    specials = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    return PreTrainedTokenizerFast(tokenizer_object=core, **specials)


def save_chinese_model(folder: Path, *more: str, **changes: object) -> str:
    """Write a tiny encoder that reads the characters of the Chinese sample, and of `more`; the folder's name."""
    tokenizer = character_tokenizer(
        [*more, *(record["text"] for split in sample.SPLITS for record in sample.records(split, language="zh"))]
    )
    tokenizer.save_pretrained(folder)
    save_model("bert", folder, vocab_size=len(tokenizer), max_position_embeddings=514, **changes)
    return str(folder)


def save_model(name: str, folder: Path, **changes: object) -> None:
    """Write a tiny pretrained model of an architecture: a bare backbone, or a language model.

    Args:
        changes: to its configuration.
    """
    torch.manual_seed(1)
    auto = AutoModelForSeq2SeqLM if name in ENCODER_DECODERS else AutoModelForCausalLM
    auto = AutoModel if name in ARCHITECTURES else auto
    config = AutoConfig.for_model(name, **{**(ARCHITECTURES | LANGUAGE_MODELS)[name], **changes})
    auto.from_config(config).save_pretrained(folder)
