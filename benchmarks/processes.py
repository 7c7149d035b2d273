"""Threads or processes: the cores of one machine as the threads of one process, or as processes of one thread each.

python benchmarks/processes.py [--cores 2] [--batch-tokens 512] [--steps 40] [--rounds 3] [--json FILE]

The model is the MiniLM of `lightadapt[demo]`, the records are the package's own sample, and the task is NER with LoRA.
A step of the optimizer has `--batch-tokens` real tokens in all: in several processes, which torchrun starts, each has
its share. The forms take turns; the table has the medians of real tokens a second, and of the peak of memory in the
largest process (resident at the end of a step).
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from command import command, keep
from data_sets import find_encoder
from measuring import MIB, medians, take_turns

import lightadapt as la
from lightadapt import sample
from lightadapt.experiments.apart import call_apart
from lightadapt.experiments.markdown import Table

TABLE = Table(
    "processes | threads of each | tokens/s | ratio | peak of a process, MiB",
    "{processes} | {threads} | {tokens_per_second:,.0f} | {ratio:.2f} | {mib:,.0f}",
)


def run(batch_tokens: int, steps: int, model: str) -> dict[str, Any]:
    """Train in this process, which may be one of those that torchrun started; what was measured."""
    records = sample.records("train")
    adapted = la.adapt(model, "ner", labels=records, device="cpu")
    history = adapted.fit(records, batch_tokens=batch_tokens, args={"max_steps": steps, "disable_tqdm": True})
    return {"tokens_per_second": history.tokens_per_second, "peak": history.peak_memory, "loss": history.losses}


def main() -> None:
    """Run both forms in turn and print the table."""
    parser = command(__doc__, steps=40, rounds=3, model=None, json=None)
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--batch-tokens", type=int, default=512)
    options = parser.parse_args()
    size = {"steps": options.steps, "model": options.model or find_encoder()}
    forms = [(1, options.cores), (options.cores, 1)]
    sides = {
        (processes, threads): partial(
            call_apart,
            run,
            {**size, "batch_tokens": options.batch_tokens // processes},
            threads=threads,
            processes=processes,
        )
        for processes, threads in forms
    }
    found = take_turns(sides, options.rounds)
    rows = {form: medians(rounds) for form, rounds in found.items()}
    print(TABLE.head)
    for (processes, threads), row in rows.items():
        ratio = row["tokens_per_second"] / rows[forms[0]]["tokens_per_second"]
        form = {"processes": processes, "threads": threads, "ratio": ratio, "mib": row["peak"] / MIB}
        print(TABLE.row({**row, **form}))
    runs = [{"processes": p, "threads": t, "rounds": rounds} for (p, t), rounds in found.items()]
    keep(options.json, {"batch_tokens": options.batch_tokens, "runs": runs})


if __name__ == "__main__":
    main()
