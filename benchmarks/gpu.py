"""What training LoRA costs at real sizes, against PEFT with transformers' Trainer in the same run.

    python benchmarks/gpu.py [--models bert-base,llama-1b,llama-8b] [--quantize none,4bit] [--rounds 1] [--json FILE]
    python benchmarks/gpu.py --models tiny --device cpu --steps 2 --tokens 128
    python benchmarks/gpu.py --models llama-8b --fsdp 4

The models have the shapes of BERT-base, Llama-3.2-1B and Llama-3-8B and random weights, which cost the same as trained
ones. They are written to a folder in bfloat16 (float32 on a CPU), 16 GB for the largest, and both sides load it. Both
train LoRA of rank 8 on every projection of the blocks: a classifier of texts of 128 tokens, and decoders on prompts of
256 tokens with completions of 256, of which the completion is learned. Batches have `--tokens` tokens and no padding.
PEFT's side is written as its guides do it: `get_peft_model`, and Trainer with `bf16=True`; in 4 bits NF4 with double
quantization and `prepare_model_for_kbit_training`. The two take turns, each run in a process of its own, and the steps
of the warm-up are not timed. `--checkpointing` computes activations anew in the backward pass, on both sides.

The table has tokens a second and the peak of allocated memory (medians of the rounds), the two sides' ratio, and the
share of the peak rate: 4 floating-point operations a token for each parameter of the blocks (2 forward, 2 backward to
the inputs; those for the gradients of weights are not needed for frozen ones), over the rate of a large product of
matrices in the same number format on the same device. On a CPU the memory is resident memory over that before the model
was loaded (Linux only). With `--fsdp` torchrun starts as many processes, and tokens and rate are those of all together;
that is for plain weights only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from measuring import both_clocks, matrix_rate, peak_since, quiet, run_apart, run_in_processes, start_peak
from tokenizers import Tokenizer, models, pre_tokenizers
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

LABELS = ("a", "b", "c", "d")
WORDS = 200
"""Different words of the texts."""
SIDES = ("peft", "lightadapt")
CHILD = "--child"  # torchrun has options that begin with --run
RATE = 1e-4
OPERATIONS = 4
"""Floating-point operations a token for each frozen parameter."""
LLAMA = {"vocab_size": 128256, "num_key_value_heads": 8, "max_position_embeddings": 8192, "rope_theta": 500000.0}
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


SHAPES = {
    "bert-base": Shape(config=BertConfig(num_labels=len(LABELS)), length=128),
    "llama-1b": Shape(
        config=LlamaConfig(
            hidden_size=2048,
            intermediate_size=8192,
            num_hidden_layers=16,
            num_attention_heads=32,
            tie_word_embeddings=True,
            **LLAMA,
        ),
        length=512,
    ),
    "llama-8b": Shape(
        config=LlamaConfig(
            hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, **LLAMA
        ),
        length=512,
    ),
    "tiny": Shape(
        config=LlamaConfig(
            vocab_size=300,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        ),
        length=32,
    ),
    "tiny-bert": Shape(
        config=BertConfig(
            vocab_size=300,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_labels=len(LABELS),
        ),
        length=32,
    ),
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
    size = shape.config.vocab_size
    specials = {"<pad>": 0, "<s>": 1, "</s>": 2}
    words = {**specials, **{f"w{number}": number for number in range(len(specials), size)}}
    core = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", cls_token="<s>", sep_token="</s>", eos_token="</s>"
    ).save_pretrained(folder)
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
            self.peak = peak_since(self.before)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:  # noqa: D102
        self.loss = (logs or {}).get("loss", self.loss)


def train_with_lightadapt(work: Work, texts: list[dict[str, Any]], clock: Clock) -> None:
    """A run of `fit`."""
    import lightadapt as la

    task = "generation" if work.shape.decoder else la.Classification(labels=LABELS)
    same = {"device": work.device, "dtype": number_format(work.device), "seed": 0}
    adapted = la.adapt(work.folder, task, "lora", quantize=work.quantize, **same)
    adapted.fit(texts, batch_tokens=work.rows * work.shape.length, callbacks=clock, args=work.arguments)


def train_with_peft(work: Work, texts: list[dict[str, Any]], clock: Clock) -> None:
    """A run of PEFT and Trainer."""
    from peft import LoraConfig, TaskType, get_peft_model, prepare_model_for_kbit_training

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


def block_parameters(shape: Shape) -> int:
    """Parameters of the blocks: those of the matrices that every token goes through."""
    with torch.device("meta"):
        model = shape.auto.from_config(shape.config)
    return sum(each.numel() for name, each in model.named_parameters() if ".layers." in name or ".layer." in name)


# ---- the runs and their table


def start(work: Work) -> dict[str, Any]:
    """The facts of a run in a process of its own, or in several by torchrun."""
    told = json.dumps(vars(work))
    if work.processes == 1:
        return run_apart(CHILD, told)
    return run_in_processes(work.processes, CHILD, told)


def as_row(work: Work, found: list[dict[str, float]], baseline: float, peak_rate: float) -> str:
    """The line of a side in the table; `peak_rate` is that of one device."""
    speed = statistics.median(each["tokens_per_second"] for each in found)
    memory = statistics.median(each["peak"] for each in found)
    share = OPERATIONS * block_parameters(work.shape) * speed / (peak_rate * work.processes)
    return (
        f"| {work.model} | {work.quantize or 'none'} | {work.side} | {speed:,.0f} | {speed / baseline:.2f} | "
        f"{memory / 2**30:,.2f} | {share:.1%} | {found[-1]['loss']:.3f} |"
    )


def measure(works: list[Work], rounds: int, peak_rate: float) -> list[dict[str, Any]]:
    """Run the sides of one model in turn, print a line for each, and give what was found."""
    found: dict[str, list[dict[str, float]]] = {work.side: [] for work in works}
    for _ in range(rounds):
        for work in works:
            found[work.side].append(start(work))
    baseline = statistics.median(each["tokens_per_second"] for each in found[works[0].side])
    for work in works:
        print(as_row(work, found[work.side], baseline, peak_rate), flush=True)
    return [{**vars(work), "rounds": found[work.side], "matrix_rate": peak_rate} for work in works]


def parse() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="bert-base,llama-1b,llama-8b", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--quantize", default="none,4bit", help="none, 4bit, or both")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--steps", type=int, default=20, help="timed steps of a run")
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=4096, help="of a step, on one device")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--fsdp", type=int, default=1, metavar="GPUS")
    parser.add_argument("--json", type=Path)
    parser.add_argument(CHILD, dest="child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for given, known in ((options.models, SHAPES), (options.quantize, ("none", "4bit"))):
        if unknown := set(given.split(",")) - set(known):
            parser.error(f"{', '.join(sorted(unknown))} is unknown; known: {', '.join(known)}")
    if options.fsdp > 1 and options.quantize != "none":
        parser.error("--fsdp is for plain weights: add --quantize none")
    if min(options.steps, options.warm_up, options.rounds, options.fsdp) < 1:
        parser.error("--steps, --warm-up, --rounds and --fsdp are whole numbers above 0")
    return options


def main() -> None:
    """Run all and print the table."""
    quiet()
    options = parse()
    if options.child:
        facts = run(Work(**json.loads(options.child)))
        if int(os.environ.get("RANK", 0)) == 0:
            print(json.dumps(facts))
        return
    if options.fsdp == 1:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # Trainer would split each batch among all
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    size = 8192 if device == "cuda" else 512
    peak_rate = matrix_rate(size, size // 2, dtype=number_format(device), device=device)
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{name}, {number_format(device)}: {peak_rate / 1e12:,.2f} TFLOP/s in products of matrices\n")
    print("| model | quantized | side | tokens/s | ratio | peak, GiB | share of peak rate | loss |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    facts = []
    for model in options.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            make_model(model, Path(folder), device)
            for quantize in options.quantize.split(","):
                works = [
                    Work(
                        side=side,
                        model=model,
                        folder=folder,
                        quantize=None if quantize == "none" else quantize,
                        device=device,
                        steps=options.steps,
                        warm_up=options.warm_up,
                        tokens=options.tokens,
                        checkpointing=options.checkpointing,
                        processes=options.fsdp,
                    )
                    for side in SIDES
                ]
                facts += measure(works, options.rounds, peak_rate)
    if options.json:
        options.json.write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
