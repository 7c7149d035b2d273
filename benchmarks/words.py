"""A tokenizer for models with random weights: each word is a token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast


def save_word_tokenizer(
    folder: str | Path, ids: dict[str, int], *, unknown: str, end: str, pad: str, processor: Any = None, **others: str
) -> None:
    """Write a tokenizer of these words to a folder; `processor` puts special tokens around a text."""
    backend = Tokenizer(models.WordLevel(ids, unk_token=unknown))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if processor is not None:
        backend.post_processor = processor
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end, pad_token=pad, **others).save_pretrained(folder)
