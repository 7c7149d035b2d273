"""What the default settings are worth: each task on real data, with LoRA and with full fine-tuning beside it.

python benchmarks/quality.py --data FOLDER [--only trec6,stsb] [--methods lora,full] [--json FILE] [--threads N]
python benchmarks/quality.py --data FOLDER --write

FOLDER holds the data sets that `WORK` names, such as `classification/trec6/train.jsonl`, and for the generation of
texts two small decoders, `models/tinystories-656k` and `models/stories260k-llama`. The encoder is the MiniLM of
`lightadapt[demo]`. A run takes the first records of a shuffle that is always the same, as many as fit into about six
minutes on one core (SQuAD, GoEmotions: twelve). `seq2seq` needs no data: a small T5 and a small BART, both random,
learn to copy and to reverse.

Each run is appended to the JSON file as it ends, and one that is there is not repeated. `--write` renews the tables of
docs/quality.md from that file alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import letters
import torch
from command import command, lacks, names_of, renew, run_missing, set_up
from data_sets import DATA_SETS, DECODERS, ENCODER, Work, find_model, learn, points
from letters import FAMILIES, ORDERS

import lightadapt as la
from lightadapt.experiments.kept import Kept
from lightadapt.experiments.machine import versions
from lightadapt.experiments.markdown import as_table

SEED = 0
BEFORE = "before"
"""Stands for the method where nothing has been trained."""
DECODED = (BEFORE, "lora", "prefix", "bottleneck", "full")
WORK = {
    "trec6": Work(DATA_SETS["trec6"], 5452, 500, 3),
    "sst2": Work(DATA_SETS["sst2"], 4000, 1821, 3),
    "rte": Work(DATA_SETS["rte"], 1500, 277, 3),
    "copa": Work(DATA_SETS["copa"], 500, 500, 5),
    "stsb": Work(DATA_SETS["stsb"], 1500, 1379, 2),
    "semeval": Work(DATA_SETS["semeval"], 2500, 2717, 3),
    "goemotions": Work(DATA_SETS["goemotions"], 8000, 2000, 5),
    "e2e": Work(DATA_SETS["e2e"], 300, 100, 3, models=DECODERS, methods=DECODED),
    "squad": Work(DATA_SETS["squad"], 3000, 1000, 2),
    "banking77": Work(DATA_SETS["banking77"], 3080, 3080, 5),
}
LETTERS = "seq2seq"
Row = dict[str, Any]


# ---- runs


def runs(only: list[str], methods: list[str]) -> Iterator[tuple[str, str, str]]:
    """Data set, model and method of every run."""
    for name in only:
        if name == LETTERS:
            yield from ((order, family, "full") for family in FAMILIES for order in ORDERS)
            continue
        work = WORK[name]
        yield from ((name, model, each) for model in work.models for each in work.methods if each in methods)


def measure(name: str, model: str, method: str, *, folder: Path | None) -> Row:
    """The facts of one run: what came of it and what it took."""
    options: dict[str, Any] = {}
    if name in ORDERS:
        adapted, train, test = letters.prepare(model, name, SEED)
        epochs, options = letters.EPOCHS, {"learning_rate": letters.RATE}
    else:
        assert folder is not None
        task, train, test = WORK[name].read(folder)
        adapted = la.adapt(find_model(model, folder), task, "lora" if method == BEFORE else method, seed=SEED)
        epochs = 0 if method == BEFORE else WORK[name].epochs
    start = time.perf_counter()
    found = learn(adapted, train, test, epochs, **options)
    seconds = time.perf_counter() - start
    parameters = list(adapted.model.parameters())
    trained = sum(each.numel() for each in parameters if each.requires_grad) if epochs else 0
    return {
        "task": adapted.task.name,
        **found,
        "seed": SEED,
        "seconds": round(seconds, 1),
        "trained": trained,
        "share": round(trained / sum(each.numel() for each in parameters), 4),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }


# ---- tables


def as_tables(kept: Kept) -> str:
    """The results as Markdown tables, with the models, seed and versions below."""
    parts = [encoder_table(kept), decoder_table(kept), letters_table(kept), footnote(kept.rows)]
    return "\n\n".join(part for part in parts if part)


def encoder_table(kept: Kept) -> str:
    """LoRA beside full fine-tuning, one line a data set."""
    head = ["data", "figure of", "LoRA", "full", "difference", "task", "train", "test", "epochs"]
    rows = []
    for name, work in WORK.items():
        lora, full = (kept.get(name, ENCODER, method) for method in ("lora", "full"))
        for metric in work.data.metrics if lora else ():
            assert lora is not None
            a, minutes = points(lora, metric), f"{lora['seconds'] / 60:.1f}"
            rest = ["not measured", ""]
            if full is not None:
                b = points(full, metric)
                rest, minutes = [f"{b:.1f}", f"{a - b:+.1f}"], f"{minutes} / {full['seconds'] / 60:.1f}"
            size = [f"{lora['train']:,}", f"{lora['test']:,} ({Path(work.data.test).stem})", lora["epochs"]]
            what = [work.data.title, metric.replace("_", " ")]
            rows.append([*what, f"{a:.1f}", *rest, lora["task"], *size, minutes])
    return as_table([*head, "minutes, LoRA / full"], rows) if rows else ""


def decoder_table(kept: Kept) -> str:
    """BLEU of each method with each decoder."""
    found = {model: [kept.get("e2e", model, method) for method in DECODED] for model in DECODERS}
    found = {model: rows for model, rows in found.items() if any(rows)}
    if not found:
        return ""
    table = as_table(
        ["E2E NLG, BLEU", *DECODED],
        (
            [model, *(f"{points(row, 'bleu'):.1f} ({100 * row['share']:.1f} %)" if row else "" for row in rows)]
            for model, rows in found.items()
        ),
    )
    largest = max((row["train"], row["epochs"], row["test"]) for rows in found.values() for row in rows if row)
    return (
        f"{table}\n\nIn brackets the share of the parameters that is trained. {largest[0]} meaning representations "
        f"with all their references, {largest[1]} epochs; {largest[2]} of the development part, decoded greedily."
    )


def letters_table(kept: Kept) -> str:
    """Exact matches of the small encoder-decoders."""
    found = {family: [kept.get(order, family, "full") for order in ORDERS] for family in FAMILIES}
    rows = [
        [
            f"{family}, random",
            f"{next(row['trained'] for row in each if row):,}",
            *(f"{points(row, 'exact_match'):.1f}" if row else "" for row in each),
        ]
        for family, each in found.items()
        if any(each)
    ]
    return as_table(["exact match", "parameters", *ORDERS], rows) if rows else ""


def footnote(rows: list[Row]) -> str:
    """Where the figures come from."""
    if not rows:
        return ""

    def all_of(values: Iterator[Any] | Mapping[str, Any]) -> list[str]:
        return sorted({str(value) for value in values})

    used = [f"{name} {' and '.join(all_of(row['versions'][name] for row in rows))}" for name in rows[0]["versions"]]
    seeds, threads = (", ".join(all_of(row[name] for row in rows)) for name in ("seed", "threads"))
    return f"Seed {seeds}; threads: {threads}; {', '.join(used)}."


def main() -> int:
    """Run what is missing; 1 when the data is not there."""
    every = list(dict.fromkeys(each for work in WORK.values() for each in work.methods))
    only = ",".join([*WORK, LETTERS])
    parser = command(__doc__, data=None, only=only, methods=",".join(every), threads=1, json=Path("runs/quality.json"))
    parser.add_argument("--write", action="store_true", help="renew docs/quality.md from the JSON file alone")
    options = parser.parse_args()
    kept = Kept(options.json, by=("data", "model", "method"))
    if options.write:
        renew("quality.md", "table", as_tables(kept))
        return 0
    names = names_of(parser, options.only, [*WORK, LETTERS])
    methods = names_of(parser, options.methods, every)
    files = [file for name in names if name != LETTERS for file in WORK[name].data.files]
    if lacks(options.data, files):
        return 1
    set_up(options.threads)
    run_missing(kept, runs(names, methods), partial(measure, folder=options.data))
    print(as_tables(kept))
    return 0


if __name__ == "__main__":
    sys.exit(main())
