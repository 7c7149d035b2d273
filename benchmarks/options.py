"""What the options of `fit` that trade time for memory cost and save, with MiniLM on a CPU.

python benchmarks/options.py [--methods lora,full] [--options plain,checkpointing,compile,adamw8bit,paged_adamw8bit]
    [--tokens 512] [--steps 16] [--rounds 1] [--threads 1] [--json FILE]

The encoder is the MiniLM of `lightadapt[demo]`. It learns to classify texts of 8 to 128 words, so that no two batches
need have the same shape. Each run is a process of its own, the options of a method in turn. The table has the median
seconds of a step in the second half of the run, and the ratio to the first option; the seconds that the first half took
longer than as many such steps, which is mostly what `torch.compile` takes; and the peak of resident memory over what
was resident before the model was loaded (Linux only).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from measuring import find_encoder, peak_since, quiet, run_apart, start_peak
from transformers import TrainerCallback

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "checkpointing": {"args": {"activation_checkpointing": True}},
    "compile": {"args": {"torch_compile": True}},
    "adamw8bit": {"optimizer": "adamw8bit"},
    "paged_adamw8bit": {"optimizer": "paged_adamw8bit"},
}
CHILD = "--run"


class Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.times = [0.0]

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: D102
        self.times = [time.perf_counter()]

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: D102
        self.times.append(time.perf_counter())


def make_records(count: int) -> list[dict[str, str]]:
    """Texts of different lengths with labels."""
    draw = random.Random(0)
    words = ["the", "of", "to", "and", "in", "is", "for", "on", "that", "by", "this", "with", "you", "it", "not", "or"]
    return [
        {"text": " ".join(draw.choices(words, k=draw.randrange(8, 128))), "label": str(number % 4)}
        for number in range(count)
    ]


def run(method: str, option: str, tokens: int, steps: int) -> dict[str, float]:
    """The facts of one run in this process."""
    import lightadapt as la

    records = make_records(max(64, steps * tokens // 60))
    before, clock = start_peak(), Clock()
    adapted = la.adapt(find_encoder(), "classification", method, labels=records, device="cpu")
    options = {**OPTIONS[option]}
    args = {"max_steps": steps, "disable_tqdm": True, **options.pop("args", {})}
    adapted.fit(records, batch_tokens=tokens, callbacks=clock, args=args, **options)
    each = [after - begin for begin, after in zip(clock.times, clock.times[1:], strict=False)]
    first, second = each[: steps // 2], each[steps // 2 :]
    step = statistics.median(second)
    return {"step": step, "start": sum(first) - step * len(first), "peak": peak_since(before)}


def main() -> None:
    """Run the options of each method in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="lora,full")
    parser.add_argument("--options", default=",".join(OPTIONS))
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument(CHILD, dest="child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    quiet()
    torch.set_num_threads(options.threads)
    if options.child:
        print(json.dumps(run(*options.child.split(","), options.tokens, options.steps)))
        return
    same = [f"--{name}={getattr(options, name)}" for name in ("tokens", "steps", "threads")]
    print("| method | option | s a step | ratio | s before | peak, MiB |\n|---|---|---|---|---|---|", flush=True)
    facts: dict[str, Any] = {}
    for method in options.methods.split(","):
        names = options.options.split(",")
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for _ in range(options.rounds):
            for name in names:
                found[name].append(run_apart(*same, CHILD, f"{method},{name}"))
        facts[method] = found
        middle = {
            name: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for name, rows in found.items()
        }
        for name, row in middle.items():
            ratio = row["step"] / middle[names[0]]["step"]
            print(
                f"| {method} | {name} | {row['step']:.3f} | {ratio:.2f} | {row['start']:.1f} | "
                f"{row['peak'] / 2**20:,.0f} |",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
