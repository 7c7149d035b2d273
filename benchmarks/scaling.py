"""What more records cost: seconds a token, preparation and memory with a thousand to a hundred thousand of them.

python benchmarks/scaling.py [--records 1000,10000,100000] [--steps 40] [--threads 1] [--json FILE]

The records are drawn from the package's own sample, the model is the MiniLM of `lightadapt[demo]`, the task is NER.
Each size is a process of its own, and trains for the same number of steps after all has been drawn, read and encoded;
the sizes take turns over the rounds, and the table has medians. The last
row gives the largest number as a `datasets.IterableDataset` instead of a list. Memory is the peak of what is
resident over what was resident before the records were there (Linux only).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from measuring import describe_machine, find_encoder, peak_since, quiet, run_apart, start_peak
from recipes import Watch

import lightadapt as la
from lightadapt import sample

CHILD = "--run"
FORMS = ("list", "IterableDataset")
Record = dict[str, Any]


def draw(count: int) -> Iterator[Record]:
    """Records of the sample, drawn again and again, each an object of its own."""
    known, generator = sample.records("train"), random.Random(0)
    for _ in range(count):
        record = generator.choice(known)
        yield {"text": record["text"], "entities": [dict(entity) for entity in record["entities"]]}


def make_data(form: str, count: int) -> Any:
    """The records in one of the forms."""
    if form == "list":
        return list(draw(count))
    import datasets

    return datasets.IterableDataset.from_generator(draw, gen_kwargs={"count": count})


def run(form: str, count: int, steps: int, model: str) -> Record:
    """The facts of one run in this process, after a short one that is not counted."""
    labels = sample.records("train")
    la.adapt(model, "ner", labels=labels, device="cpu").fit(list(draw(64)), args={"max_steps": 2, "disable_tqdm": True})
    adapted = la.adapt(model, "ner", labels=labels, device="cpu")
    tokens = 0

    def count_tokens(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal tokens
        tokens += int(kwargs["attention_mask"].sum())

    before, start = start_peak(), time.perf_counter()
    data = make_data(form, count)
    hook = adapted.model.register_forward_pre_hook(count_tokens, with_kwargs=True)
    watch = Watch(0)
    adapted.fit(data, callbacks=[watch], args={"max_steps": steps, "disable_tqdm": True})
    hook.remove()
    return {
        "form": form,
        "records": count,
        "prepare": watch.begun - start,
        "seconds": watch.seconds,
        "cpu": watch.cpu,
        "tokens": tokens,
        "peak": peak_since(before),
    }


def as_row(facts: Record) -> str:
    """A line of the table."""
    thousands = facts["tokens"] / 1000
    per_record = 1e6 * facts["prepare"] / facts["records"]
    return (
        f"| {facts['records']:,} | {facts['form']} | {facts['prepare']:.1f} | {per_record:,.0f} | "
        f"{facts['seconds'] / thousands:.2f} | {facts['cpu'] / thousands:.2f} | {facts['peak'] / 2**20:,.0f} |"
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the sizes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", default="1000,10000,100000")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", help="folder of another encoder")
    parser.add_argument("--json", type=Path)
    parser.add_argument(CHILD, dest="child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    quiet()
    torch.set_num_threads(options.threads)
    model = options.model or find_encoder()
    if options.child:
        form, count = options.child.split(",")
        print(json.dumps(run(form, int(count), options.steps, model)))
        return
    sizes = [int(each) for each in options.records.split(",")]
    same = ["--steps", str(options.steps), "--threads", str(options.threads), "--model", model]
    print("| records | given as | prepared in s | us a record | s per 1,000 tokens | of the CPU | peak, MiB |")
    print("|---|---|---|---|---|---|---|")
    kinds = [*((FORMS[0], size) for size in sizes), (FORMS[1], max(sizes))]
    found = [run_apart(*same, CHILD, f"{form},{size}") for _ in range(options.rounds) for form, size in kinds]
    for form, size in kinds:
        mine = [facts for facts in found if (facts["form"], facts["records"]) == (form, size)]
        middle = {
            name: statistics.median(facts[name] for facts in mine) for name in ("prepare", "seconds", "cpu", "peak")
        }
        print(as_row({**mine[0], **middle}))
    if options.json:
        options.json.write_text(json.dumps({"machine": describe_machine("cpu"), "runs": found}, indent=1))


if __name__ == "__main__":
    main()
