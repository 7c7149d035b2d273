"""What the options of `fit` that trade time for memory cost and save, with MiniLM on a CPU.

python benchmarks/options.py [--methods lora,full] [--options plain,checkpointing,compile,adamw8bit,paged_adamw8bit]
    [--tokens 512] [--steps 16] [--rounds 1] [--threads 1] [--steady] [--json FILE]

The encoder is the MiniLM of `lightadapt[demo]`. It learns to classify texts of 8 to 128 words, so that no two batches
need have the same shape. Each run is a process of its own, the options of a method in turn. The table has the median
seconds of a step in the second half of the run, and the ratio to the first option; the seconds that the first half took
longer than as many such steps, which is mostly what `torch.compile` takes; and the peak of resident memory over what
was resident before the model was loaded (Linux only). `--steady` makes the peak exact, and steps up to three times as
long: what is freed goes back to the system at once.
"""

from __future__ import annotations

import random
import statistics
import time
from typing import Any

from command import command, keep, names_of, run_sides, set_up
from data_sets import find_encoder
from measuring import MIB, medians
from transformers import TrainerCallback

import lightadapt as la
from lightadapt.experiments.apart import STEADY
from lightadapt.experiments.markdown import Table
from lightadapt.experiments.peak import peak_since, start_peak

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "checkpointing": {"args": {"activation_checkpointing": True}},
    "compile": {"args": {"torch_compile": True}},
    "adamw8bit": {"optimizer": "adamw8bit"},
    "paged_adamw8bit": {"optimizer": "paged_adamw8bit"},
}
WORDS = ["the", "of", "to", "and", "in", "is", "for", "on", "that", "by", "this", "with", "you", "it", "not", "or"]
TABLE = Table(
    "method | option | s a step | ratio | s before | peak, MiB",
    "{method} | {option} | {step:.3f} | {ratio:.2f} | {start:.1f} | {mib:,.0f}",
)


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
    return [
        {"text": " ".join(draw.choices(WORDS, k=draw.randrange(8, 128))), "label": str(number % 4)}
        for number in range(count)
    ]


def run(method: str, option: str, tokens: int, steps: int) -> dict[str, Any]:
    """The facts of one run in this process."""
    records = make_records(max(64, steps * tokens // 60))
    before, clock = start_peak(), Clock()
    adapted = la.adapt(find_encoder(), "classification", method, labels=records, device="cpu")
    options = {**OPTIONS[option]}
    args = {"max_steps": steps, "disable_tqdm": True, **options.pop("args", {})}
    history = adapted.fit(records, batch_tokens=tokens, callbacks=clock, args=args, **options)
    each = [after - begin for begin, after in zip(clock.times, clock.times[1:], strict=False)]
    first, second = each[: steps // 2], each[steps // 2 :]
    step = statistics.median(second)
    peak = peak_since(before, adapted.model.device, seen=history.peak_memory)
    return {"method": method, "option": option, "step": step, "start": sum(first) - step * len(first), "peak": peak}


def main() -> None:
    """Run the options of each method in turn and print the table."""
    parser = command(__doc__, methods="lora,full", tokens=512, steps=16, rounds=1, threads=1, json=None)
    parser.add_argument("--options", default=",".join(OPTIONS))
    parser.add_argument("--steady", action="store_true", help="exact peaks of memory, at the cost of speed")
    options = parser.parse_args()
    names = names_of(parser, options.options, OPTIONS)
    set_up(options.threads)
    print(TABLE.head, flush=True)
    facts: dict[str, Any] = {}
    environment = STEADY if options.steady else None
    for method in options.methods.split(","):
        size = {"method": method, "tokens": options.tokens, "steps": options.steps}
        sides = {name: {**size, "option": name} for name in names}
        facts[method] = run_sides(run, sides, options.rounds, threads=options.threads, environment=environment)
        rows = [medians(found) for found in facts[method].values()]
        for row in rows:
            print(TABLE.row({**row, "ratio": row["step"] / rows[0]["step"], "mib": row["peak"] / MIB}), flush=True)
    keep(options.json, {"runs": facts})


if __name__ == "__main__":
    main()
