"""The two sides of gpu.py: the shapes of models, the texts that they learn, and a run of PEFT or of lightadapt."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from measuring import both_clocks
from peft import LoraConfig, TaskType, get_peft_model, prepare_model_for_kbit_training
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BitsAndBytesConfig,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from words import save_word_tokenizer

import lightadapt as la
from lightadapt.experiments.peak import peak_since, start_peak

LABELS = ("a", "b", "c", "d")
WORDS = 200
"""Different words of the texts."""
RATE = 1e-4
LLAMA = {"num_attention_heads": 32, "vocab_size": 128256, "num_key_value_heads": 8, "max_position_embeddings": 8192}
NARROW = {"vocab_size": 300, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
ENCODER_TARGETS = ["query", "key", "value", "dense"]
DECODER_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model, and the texts that it learns from."""

    config: PretrainedConfig
    length: int
    """Tokens of a text."""

    @property
    def decoder(self) -> bool:
        """Whether it is one; else it is an encoder."""
        return isinstance(self.config, LlamaConfig)

    @property
    def auto(self) -> Any:
        """The class of transformers that builds and loads it."""
        return AutoModelForCausalLM if self.decoder else AutoModelForSequenceClassification


def _llama(width: int, inner: int, blocks: int, *, tied: bool = False) -> LlamaConfig:
    sizes = {"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": blocks}
    return LlamaConfig(tie_word_embeddings=tied, rope_theta=500000.0, **sizes, **LLAMA)


SHAPES = {
    "bert-base": Shape(config=BertConfig(num_labels=len(LABELS)), length=128),
    "llama-1b": Shape(config=_llama(2048, 8192, 16, tied=True), length=512),
    "llama-8b": Shape(config=_llama(4096, 14336, 32), length=512),
    "tiny": Shape(config=LlamaConfig(num_attention_heads=4, num_key_value_heads=2, **NARROW), length=32),
    "tiny-bert": Shape(config=BertConfig(num_attention_heads=4, num_labels=len(LABELS), **NARROW), length=32),
}


@dataclass(frozen=True, kw_only=True)
class Work:
    """One run: which side, on what, how."""

    side: str
    model: str
    folder: str
    quantize: str | None
    device: str
    steps: int
    warm_up: int
    tokens: int
    checkpointing: bool
    processes: int

    @property
    def shape(self) -> Shape:
        """The model's."""
        return SHAPES[self.model]

    @property
    def rows(self) -> int:
        """Texts of a step, on one device."""
        return max(1, self.tokens // self.shape.length)

    @property
    def arguments(self) -> dict[str, Any]:
        """What both sides tell Trainer."""
        chosen: dict[str, Any] = {
            "max_steps": self.warm_up + self.steps,
            "learning_rate": RATE,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "activation_checkpointing": self.checkpointing,
        }
        return {**chosen, "fsdp": True} if self.processes > 1 else chosen


# ---- models and texts


def number_format(device: str) -> torch.dtype:
    """That of the frozen weights: few CPUs compute bfloat16 fast."""
    return torch.bfloat16 if device == "cuda" else torch.float32


def make_model(name: str, folder: Path, device: str) -> None:
    """Write a model with random weights, built on the device in its final format, and a tokenizer of as many words."""
    shape = SHAPES[name]
    specials = {"<pad>": 0, "<s>": 1, "</s>": 2}
    words = specials | {f"w{number}": number for number in range(len(specials), shape.config.vocab_size)}
    around = {"cls_token": "<s>", "sep_token": "</s>"}
    save_word_tokenizer(folder, words, unknown="<pad>", pad="<pad>", end="</s>", **around)
    shape.config.pad_token_id, shape.config.eos_token_id = 0, 2
    torch.manual_seed(0)
    with torch.device(device):
        model = shape.auto.from_config(shape.config, dtype=number_format(device))
    model.save_pretrained(folder)


def make_texts(work: Work) -> list[dict[str, Any]]:
    """Texts of the same length with labels, or prompts with completions, for all steps."""
    draw = random.Random(0)

    def text(words: int) -> str:
        return " ".join(f"w{draw.randrange(10, WORDS)}" for _ in range(words))

    length, count = work.shape.length, work.rows * work.processes * (work.warm_up + work.steps)
    if not work.shape.decoder:
        return [{"text": text(length), "label": LABELS[number % len(LABELS)]} for number in range(count)]
    half = length // 2
    return [{"prompt": text(half), "completion": text(length - half - 1)} for _ in range(count)]  # 1 for the end


# ---- what is measured


class Clock(TrainerCallback):
    """The seconds of the steps after the warm-up, the peak of memory, and the last loss."""

    def __init__(self, work: Work, before: int) -> None:
        self.work, self.before = work, before
        self.started = self.seconds = self.loss = 0.0
        self.peak = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: D102
        if self.work.device == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: D102
        if state.global_step == self.work.warm_up:
            self.started = both_clocks()[0]
        if state.global_step == state.max_steps:
            self.seconds = both_clocks()[0] - self.started
            self.peak = peak_since(self.before, torch.device(self.work.device))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:  # noqa: D102
        self.loss = (logs or {}).get("loss", self.loss)


def train_with_lightadapt(work: Work, texts: list[dict[str, Any]], clock: Clock) -> None:
    """A run of `fit`."""
    task = "generation" if work.shape.decoder else la.Classification(labels=LABELS)
    same = {"device": work.device, "dtype": number_format(work.device), "seed": 0}
    adapted = la.adapt(work.folder, task, "lora", quantize=work.quantize, **same)
    adapted.fit(texts, batch_tokens=work.rows * work.shape.length, callbacks=clock, args=work.arguments)


def train_with_peft(work: Work, texts: list[dict[str, Any]], clock: Clock) -> None:
    """A run of PEFT and Trainer."""
    options: dict[str, Any] = {"dtype": number_format(work.device)}
    if work.quantize:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=number_format(work.device),
            llm_int8_skip_modules=["lm_head"] if work.shape.decoder else ["classifier"],
        )
    place = {"": int(os.environ.get("LOCAL_RANK", 0)) if work.device == "cuda" else "cpu"}
    model = work.shape.auto.from_pretrained(work.folder, device_map=place, **options)
    if work.quantize:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=work.checkpointing)
    decoder = work.shape.decoder
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM if decoder else TaskType.SEQ_CLS,
        r=8,
        lora_alpha=16,
        target_modules=DECODER_TARGETS if decoder else ENCODER_TARGETS,
        exclude_modules=None if decoder else ".*pooler.*",
    )
    with tempfile.TemporaryDirectory() as output:
        arguments = TrainingArguments(
            output,
            per_device_train_batch_size=work.rows,
            bf16=work.device == "cuda",
            use_cpu=work.device == "cpu",
            **work.arguments,
        )
        rows = list(encode(work, texts))
        trainer = Trainer(get_peft_model(model, config), arguments, train_dataset=rows, data_collator=collate)
        trainer.add_callback(clock)
        trainer.train()


def encode(work: Work, texts: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The texts as ids with labels, as a user of Trainer makes them."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(work.folder)
    for record in texts:
        if work.shape.decoder:
            prompt = tokenizer(record["prompt"])["input_ids"]
            ids = prompt + tokenizer(f"{record['completion']} </s>")["input_ids"]
            yield {"input_ids": ids, "labels": [-100] * len(prompt) + ids[len(prompt) :]}
        else:
            yield {"input_ids": tokenizer(record["text"])["input_ids"], "labels": LABELS.index(record["label"])}


def collate(batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """A batch; all texts have the same length."""
    tensors = {name: torch.tensor([row[name] for row in batch]) for name in ("input_ids", "labels")}
    return tensors | {"attention_mask": torch.ones_like(tensors["input_ids"])}


def run(work: Work) -> dict[str, float]:
    """The facts of one run in this process."""
    if work.device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    texts = make_texts(work)
    clock = Clock(work, start_peak() if work.device == "cpu" else 0)
    train = train_with_lightadapt if work.side == "lightadapt" else train_with_peft
    train(work, texts, clock)
    tokens = work.rows * work.shape.length * work.steps * work.processes
    return {"tokens_per_second": tokens / clock.seconds, "peak": clock.peak, "loss": clock.loss}
