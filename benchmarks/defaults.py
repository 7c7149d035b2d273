"""Whether defaults hold: every method with nothing set, full fine-tuning, and the guide of PEFT, on many data sets.

python benchmarks/defaults.py --data FOLDER [--only trec6,rte] [--methods lora,full,guide] [--sizes 200,2000]
    [--seeds 0,1,2] [--tests 500] [--choosing] [--model FOLDER] [--threads 1] [--json FILE] [--write]

A run learns from the first `--sizes` records of a shuffle (all that there are, where they are fewer) and is scored on
`--tests` records. Seed n shuffles in an order of its own, and all methods learn the same records with it, so that
differences are of pairs. `--choosing` scores on training records that no run learns from: where a default is to be
chosen, test records take no part.

`guide` is the LoRA of PEFT's guides (rank 16, alpha 16, dropout 0.1, query and value, biases; batches of 16, 1e-3,
dynamic padding) with transformers' Trainer, for the tasks of `benchmarks/recipes`, with as many epochs as `lora` took.

Each run is kept in the JSON file, and one that is there is not repeated. `--write` renews docs/quality.md from it.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from command import command, lacks, names_of, renew, run_missing, set_up
from data_sets import DATA_SETS, ENCODER, Record, find_encoder, learn, points
from recipes import guides
from train_speed import as_row, bio_labels, score

import lightadapt as la
from lightadapt.data.spans import read_tags, write_tags
from lightadapt.experiments.kept import Kept
from lightadapt.experiments.machine import versions
from lightadapt.experiments.markdown import as_table
from lightadapt.tasks import LabelledTask, Task, give_labels

SETS = tuple(name for name in DATA_SETS if name != "e2e")
METHODS = ("lora", "full", "guide", "bottleneck", "prefix", "ia3", "bitfit", "layernorm", "prompt", "probe", "dora")
GUIDED = {"conll": "ner", "squad": "qa", **dict.fromkeys(("trec6", "sst2", "banking77"), "classification")}
"""Data sets for whose form benchmarks/recipes has a guide, and its task."""
CHANGED: Mapping[str, Mapping[str, Any]] = {
    "lora+base-dropout": {"base_dropout": True},
    "lora+half-rate": {"learning_rate": 5e-4, "head_learning_rate": 5e-3},
}
"""LoRA with an option of `fit`: defaults that were considered."""
Row = dict[str, Any]


# ---- data


def draw(
    name: str, folder: Path, size: int, tests: int, seed: int, *, choosing: bool
) -> tuple[Task, list[Record], ...]:
    """The task, with all its labels, and the records to learn from and to be scored on."""
    data = DATA_SETS[name]
    every, test = data.read(folder)
    task = replace(data.task, columns=None)
    task = give_labels(task, every) if isinstance(task, LabelledTask) else task
    shuffled = random.Random(seed).sample(every, len(every))
    if choosing:
        test, shuffled = shuffled[:tests], shuffled[tests:]
    return task, shuffled[:size], random.Random(0).sample(test, min(tests, len(test)))


# ---- runs


def measure(
    name: str, model: str, method: str, size: int, seed: int, *, folder: Path, tests: int, choosing: bool, kept: Kept
) -> Row:
    """The scores of one run, and what it took."""
    task, train, test = draw(name, folder, size, tests, seed, choosing=choosing)
    path = find_encoder() if model == ENCODER else model
    start = time.perf_counter()
    if method == "guide":
        ours = kept.get(name, model, "lora", size, seed)
        assert ours is not None, "lora comes first"
        found = follow_guide(GUIDED[name], task, path, train, test, round(ours["epochs"]), seed)
    else:
        adapted = la.adapt(path, task, "lora" if method in CHANGED else method, seed=seed)
        found = learn(adapted, train, test, None, **CHANGED.get(method, {}))
    return {**found, "wall": round(time.perf_counter() - start, 1), "versions": versions()}


def follow_guide(
    kind: str, task: Task, model: str, train: list[Record], test: list[Record], epochs: int, seed: int
) -> Row:
    """What PEFT and Trainer make of the records, with the settings of the guide."""
    labels = [str(label) for label in task.labels] if isinstance(task, LabelledTask) else []
    if kind == "ner":
        labels = bio_labels(labels)
        train, test = ([{**each, "tags": as_iob2(each["tags"])} for each in part] for part in (train, test))
    if kind == "classification":
        train, test = ([{**each, "label": str(each["label"])} for each in part] for part in (train, test))
    if kind == "qa":
        train, test = list(map(as_row, train)), list(map(as_row, test))
    work = {"side": "guide", "task": kind, "model": model, "train": train, "test": test, "labels": labels}
    facts = guides.train({**work, "epochs": epochs, "seed": seed, "points": 1, "device": "cpu", "bf16": False})
    headline = {"ner": "f1", "qa": "f1", "classification": "accuracy"}[kind]
    return {
        "scores": {headline: round(score(work, facts["curve"][-1][2]), 4)},
        "train": len(train),
        "test": len(test),
        "epochs": epochs,
        "seconds": round(facts["seconds"], 1),
    }


def as_iob2(tags: Sequence[str]) -> list[str]:
    """The tags in the scheme that the guide's labels are of."""
    return list(write_tags(read_tags(tags), len(tags)))


# ---- tables


def as_tables(kept: Kept) -> str:
    """Every method against full fine-tuning, and LoRA in each cell."""
    return f"{methods_table(kept)}\n\n{cells_table(kept)}"


def pairs(kept: Kept, method: str, than: str) -> dict[tuple[str, str, int], list[float]]:
    """By data set, model and size, the differences in points of the runs that both have."""
    found = defaultdict(list)
    for row in kept.rows:
        other = kept.get(row["data"], row["model"], than, row["size"], row["seed"])
        if row["method"] == method and other is not None:
            metric = DATA_SETS[row["data"]].metrics[0]
            found[row["data"], row["model"], row["size"]].append(points(row, metric) - points(other, metric))
    return dict(found)


def methods_table(kept: Kept) -> str:
    """A line a method: how it stands to full fine-tuning, over cells of data set, model and size."""
    rows = []
    for method in (*METHODS, *CHANGED):
        cells = [statistics.mean(each) for each in pairs(kept, method, "full").values()]
        if not cells or method == "full":
            continue
        times = [row["seconds"] for row in kept.rows if row["method"] == method]
        near = sum(each >= -0.5 for each in cells)
        mean = f"{statistics.mean(cells):+.1f}"
        rows.append([method, mean, f"{min(cells):+.1f}", f"{near} of {len(cells)}", f"{statistics.median(times):.0f}"])
    head = ["method", "mean difference to full", "worst", "within 0.5 of full", "median seconds"]
    return as_table(head, rows)


def cells_table(kept: Kept) -> str:
    """A line a data set, model and size: the mean scores of LoRA, full and the guide."""
    rows = []
    for cell, differences in sorted(pairs(kept, "lora", "full").items()):
        data, model, size = cell
        means = []
        for method in ("lora", "full", "guide"):
            found = [
                row for row in kept.rows if row["method"] == method and (row["data"], row["model"], row["size"]) == cell
            ]
            scores = [points(row, DATA_SETS[data].metrics[0]) for row in found]
            times = [row["seconds"] for row in found]
            means.append(f"{statistics.mean(scores):.1f} ({statistics.mean(times):.0f} s)" if found else "")
        spread = f" ± {statistics.stdev(differences):.1f}" if len(differences) > 1 else ""
        difference = f"{statistics.mean(differences):+.1f}{spread}"
        title = f"{DATA_SETS[data].title}, {DATA_SETS[data].metrics[0].replace('_', ' ')}"
        rows.append([title, Path(model).name, f"{size:,}", *means, difference, len(differences)])
    head = ["data", "model", "records", "LoRA", "full", "PEFT's guide", "LoRA minus full", "seeds"]
    return as_table(head, rows)


def main() -> int:
    """Run what is missing; 1 when the data is not there."""
    parser = command(
        __doc__, data=None, only=",".join(SETS), methods="lora,full,guide", model=None, threads=1,
        json=Path("runs/defaults.json"),
    )  # fmt: skip
    parser.add_argument("--sizes", default="200,2000", help="training records; default: %(default)s")
    parser.add_argument("--seeds", default="0,1,2", help="default: %(default)s")
    parser.add_argument("--tests", type=int, default=500, help="records to be scored on; default: %(default)s")
    parser.add_argument("--choosing", action="store_true", help="score on training records, to choose a default by")
    parser.add_argument("--write", action="store_true", help="renew docs/quality.md from the JSON file alone")
    options = parser.parse_args()
    kept = Kept(options.json, by=("data", "model", "method", "size", "seed"))
    if options.write:
        renew("quality.md", "defaults", as_tables(kept))
        return 0
    names = names_of(parser, options.only, SETS)
    methods = names_of(parser, options.methods, [*METHODS, *CHANGED])
    if lacks(options.data, [file for name in names for file in DATA_SETS[name].files]):
        return 1
    set_up(options.threads)
    runs = [
        (name, str(options.model or ENCODER), method, int(size), int(seed))
        for seed in options.seeds.split(",")
        for size in options.sizes.split(",")
        for name in names
        for method in methods
        if method != "guide" or name in GUIDED
    ]
    how = {"folder": options.data, "tests": options.tests, "choosing": options.choosing, "kept": kept}
    run_missing(kept, runs, partial(measure, **how))
    print(as_tables(kept))
    return 0


if __name__ == "__main__":
    sys.exit(main())
