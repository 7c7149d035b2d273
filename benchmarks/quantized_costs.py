"""Memory and speed of training steps on weights in several number formats; `quantization.py` calls this."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from data_sets import find_encoder
from measuring import stepper, take_turns
from transformers import LlamaConfig

import lightadapt as la
from lightadapt.base.quantization import Quantization
from lightadapt.experiments.peak import peak_since, start_peak

TOKENS, LENGTH = 2048, 128
"""Of a step whose memory is measured, and of a text in it."""
LABELS = [str(number) for number in range(9)]
LLAMA_FORMATS = ("bfloat16", "8bit", "4bit")
LLAMA_8B = LlamaConfig(
    vocab_size=128256,
    hidden_size=4096,
    intermediate_size=14336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
    max_position_embeddings=8192,
    tie_word_embeddings=False,
)


def as_options(number_format: str) -> dict[str, Any]:
    """The arguments of `adapt` for a number format; what is not quantized is in float32."""
    quantize = number_format if number_format.endswith("bit") else None
    return {"quantize": quantize, "dtype": "float32" if quantize else number_format, "device": "cpu"}


def make_batch(adapted: la.Adapted, tokens: int) -> dict[str, torch.Tensor]:
    """Random texts of 128 tokens with labels, as many as make so many tokens."""
    ids = torch.randint(5, adapted.model.config.vocab_size, (tokens // LENGTH, LENGTH))
    mask = torch.ones_like(ids)
    mask[-1, -1] = 0  # a batch has padding
    zeros = torch.zeros(len(ids), dtype=torch.long)
    labels = {"classification": zeros, "ner": torch.zeros_like(ids), "generation": ids}
    return {"input_ids": ids, "attention_mask": mask, "labels": labels[adapted.task.name]}


def measure_memory(model: str, task: str, method: str, number_format: str) -> dict[str, Any]:
    """The peak of a few training steps in this process, and what `inspect` expects it to be."""
    options = {"task": task, "method": method, **as_options(number_format)}
    labels = None if task == "generation" else LABELS

    def prepare(tokens: int) -> Callable[[], float]:
        adapted = la.adapt(model, labels=labels, **options)
        batch = make_batch(adapted, tokens)
        return stepper(adapted.model, batch, adapted.task.objective([], adapted.runner.view))  # as `fit` has it

    prepare(256)()  # what libraries allocate once, at their first step, is none of the model's
    before = start_peak()
    step = prepare(TOKENS)
    start_peak()
    for _ in range(3):
        step()
    peak = peak_since(before, torch.device("cpu"))
    expected = la.inspect(model, batch_tokens=TOKENS, **options).memory
    assert expected is not None
    return {
        "base": dict(expected.base),
        "peak": peak,
        "estimate": expected.peak,
        "parts": {"weights": expected.weights, "optimizer": expected.optimizer, "step": expected.step},
    }


def measure_speed(methods: Sequence[str], formats: Sequence[str], rounds: int) -> dict[tuple[str, str], float]:
    """Milliseconds of a training step, the median of steps that the formats take in turn, by method and format."""
    steps = {}
    for method, each in product(methods, formats):
        adapted = la.adapt(find_encoder(), "classification", method, labels=["a", "b"], **as_options(each))
        steps[method, each] = stepper(adapted.model, make_batch(adapted, 512))
    found = take_turns(steps, rounds + 1)
    return {kind: round(1000 * statistics.median(seconds[1:]), 1) for kind, seconds in found.items()}


def count_llama(number_format: str) -> dict[str, Any]:
    """The bytes of a LLaMA of 8 billion parameters in a format, and the peak of training it on a GPU with LoRA."""
    quantize = number_format if number_format.endswith("bit") else None
    place = {"dtype": "bfloat16", "device": "cuda", "batch_tokens": TOKENS}
    found = la.inspect(LLAMA_8B, task="generation", method="lora", quantize=quantize, **place)
    assert found.memory is not None
    block = [found.anatomy.linears[path] for path in found.anatomy.blocks[0].linears]
    values = sum(first * second for first, second in block)
    packed = sum(Quantization.named(quantize).packed_size((b, a)) for a, b in block) if quantize else 2 * values
    whole = {"base": sum(found.memory.base.values()), "peak": found.memory.peak}
    return {"block_values": values, "block_bytes": packed, **whole}
