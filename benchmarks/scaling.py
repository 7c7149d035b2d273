"""What more records cost: seconds a token, preparation and memory with a thousand to a hundred thousand of them.

python benchmarks/scaling.py [--records 1000,10000,100000] [--steps 40] [--threads 1] [--json FILE]

The records are drawn from the package's own sample, the model is the MiniLM of `lightadapt[demo]`, the task is NER.
Each size is a process of its own, and trains for the same number of steps after all has been drawn, read and encoded;
the sizes take turns over the rounds, and the table has medians. The last
row gives the largest number as a `datasets.IterableDataset` instead of a list. Memory is the peak of what is
resident over what was resident before the records were there (Linux only).
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

from command import command, keep, run_sides
from data_sets import Record, find_encoder
from measuring import MIB, medians
from recipes.watch import Watch

import lightadapt as la
from lightadapt import sample
from lightadapt.experiments.apart import STEADY
from lightadapt.experiments.markdown import Table
from lightadapt.experiments.peak import peak_since, start_peak

FORMS = ("list", "IterableDataset")
TABLE = Table(
    "records | given as | prepared in s | us a record | s per 1,000 tokens | of the CPU | peak, MiB",
    "{records:,} | {form} | {prepare:.1f} | {per_record:,.0f} | {wall:.2f} | {of_cpu:.2f} | {mib:,.0f}",
)


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
    times = {"prepare": watch.begun - start, "seconds": watch.seconds, "cpu": watch.cpu}
    return {"form": form, "records": count, **times, "tokens": tokens, "peak": peak_since(before, adapted.model.device)}


def as_row(facts: Record) -> str:
    """A line of the table."""
    thousands = facts["tokens"] / 1000
    speed = {"wall": facts["seconds"] / thousands, "of_cpu": facts["cpu"] / thousands}
    per_record = 1e6 * facts["prepare"] / facts["records"]
    return TABLE.row({**facts, **speed, "per_record": per_record, "mib": facts["peak"] / MIB})


def main() -> None:
    """Run the sizes and print the table."""
    parser = command(__doc__, steps=40, rounds=1, threads=1, model=None, json=None)
    parser.add_argument("--records", default="1000,10000,100000")
    options = parser.parse_args()
    sizes = [int(each) for each in options.records.split(",")]
    same = {"steps": options.steps, "model": options.model or find_encoder()}
    kinds = [*((FORMS[0], size) for size in sizes), (FORMS[1], max(sizes))]
    sides = {(form, size): {"form": form, "count": size, **same} for form, size in kinds}
    found = run_sides(run, sides, options.rounds, threads=options.threads, environment=STEADY)
    print(TABLE.head)
    for rounds in found.values():
        print(as_row(medians(rounds)))
    keep(options.json, {"runs": [run for rounds in found.values() for run in rounds]})


if __name__ == "__main__":
    main()
