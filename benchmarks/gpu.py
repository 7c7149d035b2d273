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
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from command import command, keep, names_of, run_sides, set_up
from gpu_sides import SHAPES, Shape, Work, make_model, number_format, run
from measuring import matrix_rate, medians

from lightadapt.experiments.apart import STEADY
from lightadapt.experiments.markdown import Table

SIDES = ("peft", "lightadapt")
OPERATIONS = 4
"""Floating-point operations a token for each frozen parameter."""
TABLE = Table(
    "model | quantized | side | tokens/s | ratio | peak, GiB | share of peak rate | loss",
    "{model} | {quantize} | {side} | {tokens_per_second:,.0f} | {ratio:.2f} | {gib:,.2f} | {share:.1%} | {last:.3f}",
)


def block_parameters(shape: Shape) -> int:
    """Parameters of the blocks: those of the matrices that every token goes through."""
    with torch.device("meta"):
        model = shape.auto.from_config(shape.config)
    return sum(each.numel() for name, each in model.named_parameters() if ".layers." in name or ".layer." in name)


def run_job(**work: Any) -> dict[str, float]:
    """The facts of a run, in the process that was started for it."""
    return run(Work(**work))


def as_row(work: Work, found: list[dict[str, float]], baseline: float, peak_rate: float) -> str:
    """The line of a side in the table; `peak_rate` is that of one device."""
    middle = medians(found)
    speed = middle["tokens_per_second"]
    share = OPERATIONS * block_parameters(work.shape) * speed / (peak_rate * work.processes)
    derived = {"ratio": speed / baseline, "gib": middle["peak"] / 2**30, "share": share, "last": found[-1]["loss"]}
    return TABLE.row({**vars(work), "quantize": work.quantize or "none", **middle, **derived})


def measure(works: list[Work], rounds: int, peak_rate: float) -> list[dict[str, Any]]:
    """Run the sides of one model in turn, print a line for each, and give what was found."""
    (processes,) = {work.processes for work in works}
    how = {"processes": processes, "environment": STEADY if processes == 1 else None}
    found = run_sides(run_job, {work.side: vars(work) for work in works}, rounds, **how)
    baseline = medians(found[works[0].side])["tokens_per_second"]
    for work in works:
        print(as_row(work, found[work.side], baseline, peak_rate), flush=True)
    return [{**vars(work), "rounds": found[work.side], "matrix_rate": peak_rate} for work in works]


def parse() -> argparse.Namespace:
    """What the command line says."""
    parser = command(__doc__, steps=20, tokens=4096, rounds=1, json=None)
    parser.add_argument("--models", default="bert-base,llama-1b,llama-8b", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--quantize", default="none,4bit", help="none, 4bit, or both")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--fsdp", type=int, default=1, metavar="GPUS")
    options = parser.parse_args()
    options.models = names_of(parser, options.models, SHAPES)
    options.quantize = names_of(parser, options.quantize, ("none", "4bit"))
    if options.fsdp > 1 and options.quantize != ["none"]:
        parser.error("--fsdp is for plain weights: add --quantize none")
    if min(options.steps, options.warm_up, options.rounds, options.fsdp) < 1:
        parser.error("--steps, --warm-up, --rounds and --fsdp are whole numbers above 0")
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    return options


def main() -> None:
    """Run all and print the table."""
    options = parse()
    set_up(torch.get_num_threads())
    if options.fsdp == 1:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # Trainer would split each batch among all
    device = options.device
    size = 8192 if device == "cuda" else 512
    peak_rate = matrix_rate(size, size // 2, dtype=number_format(device), device=device)
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{name}, {number_format(device)}: {peak_rate / 1e12:,.2f} TFLOP/s in products of matrices\n")
    print(TABLE.head, flush=True)
    same = {name: getattr(options, name) for name in ("device", "steps", "warm_up", "tokens", "checkpointing")}
    same["processes"] = options.fsdp
    facts = []
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder:
            make_model(model, Path(folder), device)
            for quantize in options.quantize:
                form = None if quantize == "none" else quantize
                works = [Work(side=side, model=model, folder=folder, quantize=form, **same) for side in SIDES]
                facts += measure(works, options.rounds, peak_rate)
    keep(options.json, {"runs": facts}, device=device)


if __name__ == "__main__":
    main()
