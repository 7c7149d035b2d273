"""Threads or processes: the cores of one machine as the threads of one process, or as processes of one thread each.

python benchmarks/processes.py [--cores 2] [--batch-tokens 512] [--steps 40] [--rounds 3] [--json FILE]

The model is the MiniLM of `lightadapt[demo]`, the records are the package's own sample, and the task is NER with LoRA.
A step of the optimizer has `--batch-tokens` real tokens in all: in several processes, which torchrun starts, each has
its share. The forms take turns; the table has the medians of real tokens a second, and of the peak of memory in the
largest process (resident at the end of a step).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

import torch
from measuring import describe_machine, find_encoder, quiet, run_in_processes

import lightadapt as la
from lightadapt import sample

CHILD = "--child"  # torchrun has options that begin with --run


def run(threads: int, batch_tokens: int, steps: int, model: str) -> None:
    """Train in this process, as one of those that torchrun started; the main one prints what was measured."""
    torch.set_num_threads(threads)
    records = sample.records("train")
    adapted = la.adapt(model, "ner", labels=records, device="cpu")
    history = adapted.fit(records, batch_tokens=batch_tokens, args={"max_steps": steps, "disable_tqdm": True})
    if int(os.environ["RANK"]) == 0:
        facts = {"tokens_per_second": history.tokens_per_second, "peak": history.peak_memory, "loss": history.losses}
        print(json.dumps(facts))


def start(processes: int, threads: int, options: argparse.Namespace) -> dict[str, Any]:
    """The facts of a run in so many processes of so many threads."""
    share = options.batch_tokens // processes
    told = json.dumps([threads, share, options.steps, options.model or find_encoder()])
    return run_in_processes(processes, CHILD, told, threads=threads)


def main(arguments: list[str] | None = None) -> None:
    """Run both forms in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--batch-tokens", type=int, default=512)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", help="folder of another encoder")
    parser.add_argument("--json", type=Path)
    parser.add_argument(CHILD, dest="child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    quiet()
    if options.child:
        run(*json.loads(options.child))
        return
    forms = [(1, options.cores), (options.cores, 1)]
    found: dict[tuple[int, int], list[dict[str, Any]]] = {form: [] for form in forms}
    for _ in range(options.rounds):
        for form in forms:
            found[form].append(start(*form, options))
    print("| processes | threads of each | tokens/s | ratio | peak of a process, MiB |\n|---|---|---|---|---|")
    rates = {form: statistics.median(each["tokens_per_second"] for each in rows) for form, rows in found.items()}
    for (processes, threads), rows in found.items():
        rate, peak = rates[processes, threads], statistics.median(each["peak"] for each in rows) / 2**20
        print(f"| {processes} | {threads} | {rate:,.0f} | {rate / rates[forms[0]]:.2f} | {peak:,.0f} |")
    if options.json:
        runs = [{"processes": p, "threads": t, "rounds": rows} for (p, t), rows in found.items()]
        facts = {"machine": describe_machine("cpu"), "batch_tokens": options.batch_tokens, "runs": runs}
        options.json.write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
