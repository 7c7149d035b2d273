"""Small encoder-decoders with random weights that learn to copy or to reverse letters."""

from __future__ import annotations

import random
import tempfile

import torch
from data_sets import Record
from tokenizers import processors
from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration
from words import save_word_tokenizer

import lightadapt as la

LETTERS = "abcdefghijklmnopqrst"
FAMILIES = ("T5", "BART")
ORDERS = {"copy": 1, "reverse": -1}
PAIRS, TEST_PAIRS, EPOCHS, RATE = 6000, 500, 10, 1e-3


def letter_pairs(step: int, seed: int) -> list[dict[str, str]]:
    """Sequences of 3 to 8 different letters, each with its copy (step 1) or its reverse (step -1)."""
    generator = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < PAIRS + TEST_PAIRS:
        found[" ".join(generator.sample(LETTERS, generator.randint(3, 8)))] = None
    return [{"prompt": text, "completion": text[::step]} for text in found]


def save_small_model(family: str, folder: str, seed: int) -> None:
    """Write a random encoder-decoder of 1.4 million parameters to a folder, with a tokenizer that reads letters."""
    ids = {token: number for number, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *LETTERS])}
    around = processors.TemplateProcessing(
        single="$A </s>" if family == "T5" else "<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"unknown": "<unk>", "unk_token": "<unk>", "bos_token": "<s>", "end": "</s>", "pad": "<pad>"}
    save_word_tokenizer(folder, ids, processor=around, **names)
    torch.manual_seed(seed)
    if family == "T5":
        sizes = {"d_model": 128, "d_kv": 32, "d_ff": 512, "num_layers": 3, "num_heads": 4, "dropout_rate": 0.0}
        numbers = {"pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
        T5ForConditionalGeneration(T5Config(vocab_size=len(ids), **sizes, **numbers)).save_pretrained(folder)
        return
    sizes = {"layers": 3, "attention_heads": 4, "ffn_dim": 512}
    sides = {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in sizes.items()}
    config = BartConfig(vocab_size=len(ids), d_model=128, max_position_embeddings=64, dropout=0.0, **sides)
    BartForConditionalGeneration(config).save_pretrained(folder)


def prepare(family: str, order: str, seed: int) -> tuple[la.Adapted, list[Record], list[Record]]:
    """A small encoder-decoder, and the pairs that it learns and is tested on."""
    pairs = letter_pairs(ORDERS[order], seed)
    with tempfile.TemporaryDirectory() as folder:
        save_small_model(family, folder, seed)
        adapted = la.adapt(folder, la.Generation(max_new_tokens=12), "full", seed=seed)
    return adapted, pairs[:PAIRS], pairs[PAIRS:]
