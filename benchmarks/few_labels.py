"""How far a few labelled records of each class go: by names alone, with the few-shot recipe, plain LoRA, and SetFit.

python benchmarks/few_labels.py --data FOLDER [--only trec6,sst2,banking77] [--shots 8,16] [--samples 5]
    [--methods zero-shot,few-shot,described,unlabelled,standard,full,setfit] [--setfit PYTHON] [--tests 1000]
    [--choosing] [--model FOLDER] [--threads 1] [--json FILE] [--plot FILE]

Each sample draws so many records of each class from the training file, and all methods learn from the same ones, so
that differences are of pairs. Scores are accuracies on the first `--tests` records of the test file after a shuffle;
with `--choosing`, on training records that were not drawn: nothing is chosen on test records.

- `zero-shot`: names of labels alone, nothing is trained. `described`: the few-shot recipe, told what labels mean.
- `unlabelled`: the few-shot recipe, given as many texts again whose labels are not known.
- `setfit`: SetFit's defaults, in the environment of the interpreter that `--setfit` names (`pip install setfit`), with
  its number of iterations 5 from 20 classes on, where the defaults take hours.

Runs are kept in the JSON file, and a second call goes on from there. The seconds are those of training.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from command import command, lacks, names_of, run_missing, set_up
from data_sets import DATA_SETS, find_encoder

import lightadapt as la
from lightadapt.experiments.kept import Kept
from lightadapt.experiments.markdown import Table

Record = dict[str, Any]
METHODS = ("zero-shot", "few-shot", "described", "unlabelled", "standard", "full", "setfit")
NAMES: Mapping[str, Mapping[Any, str]] = {"sst2": {0: "negative", 1: "positive"}}
"""Names for classes that have numbers in the files."""
DESCRIPTIONS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "sst2": {
        "negative": [
            "a negative movie review: bad, boring, awful, dull, a waste of time",
            "I hated this film",
            "the movie is bad",
            "tedious, shallow and badly acted",
            "a clumsy mess without laughs",
        ],
        "positive": [
            "a positive movie review: great, wonderful, moving, funny, enjoyable",
            "I loved this film",
            "the movie is good",
            "a delight, rich and well acted",
            "touching and full of life",
        ],
    },
    "trec6": {
        "ABBR": ["What does an abbreviation stand for?", "What is the full form of this acronym?"],
        "DESC": ["Why or how does something happen? What is it?", "What is the definition of a word?"],
        "ENTY": ["Which thing, animal, product, food, sport or work is it?", "What kind of thing is it?"],
        "HUM": ["Who did it? Which person or group is it?", "Who is this person?"],
        "LOC": ["Where is it? Which city, country or place is it?", "In which country is it?"],
        "NUM": ["How many or how much? When, at what date?", "How many are there? What year was it?"],
    },
}
TABLE = Table(
    "data | shots | method | accuracy | spread | few-shot minus it, in pairs | seconds",
    "{data} | {shots} | {method} | {accuracy:.1f} | {spread:.1f} | {difference} | {seconds:.0f}",
)


def read(folder: Path, name: str) -> tuple[list[Record], list[Record]]:
    """The training and the test records of a data set, with names for classes, shuffled in an order of their own."""
    named = NAMES.get(name, {})
    parts = DATA_SETS[name].read(folder)
    return tuple(  # type: ignore[return-value]
        [{**record, "label": named.get(record["label"], record["label"])} for record in _shuffled(part, 0)]
        for part in parts
    )


def draw(records: list[Record], shots: int, seed: int) -> tuple[list[Record], list[Record]]:
    """So many records of each class, and the rest."""
    taken, rest, seen = [], [], defaultdict(int)
    for record in _shuffled(records, seed + 1):
        seen[record["label"]] += 1
        (taken if seen[record["label"]] <= shots else rest).append(record)
    return taken, rest


def _shuffled(records: Sequence[Record], seed: int) -> list[Record]:
    return random.Random(seed).sample(list(records), len(records))


def learn(
    method: str, data: str, model: str, train: list[Record], rest: list[Record], test: list[Record], seed: int
) -> dict[str, Any]:
    """The accuracy of one of lightadapt's methods, and the seconds that its training takes.

    Args:
        rest: records of which a method may know the texts.
    """
    labels = sorted({record["label"] for record in train})
    given = DESCRIPTIONS.get(data, labels) if method == "described" else labels
    adapted = la.adapt(model, "classification", "full" if method == "full" else "lora", labels=given, seed=seed)
    start = time.perf_counter()
    if method != "zero-shot":
        recipe = "standard" if method in ("standard", "full") else None
        texts = [record["text"] for record in rest[-len(train) :]] if method == "unlabelled" else None
        adapted.fit(train, recipe=recipe, unlabelled=texts, args={"disable_tqdm": True})
    seconds = time.perf_counter() - start
    return {"accuracy": adapted.evaluate(test)["accuracy"], "seconds": round(seconds, 1)}


def ask_setfit(python: str, model: str, train: list[Record], test: list[Record], seed: int, threads: int) -> Any:
    """The same of SetFit, in its own environment."""
    side = Path(__file__).with_name("setfit_side.py")
    asked = {"model": model, "train": train, "test": test, "seed": seed, "threads": threads}
    done = subprocess.run([python, str(side)], input=json.dumps(asked), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{python} {side} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def summarise(kept: Kept) -> list[dict[str, Any]]:
    """A row for each data set, number of shots and method: means over the samples, and paired differences."""
    found = []
    kinds = dict.fromkeys((row["data"], row["shots"], row["method"]) for row in kept.rows)
    for data, shots, method in kinds:
        rows = [row for row in kept.rows if (row["data"], row["shots"], row["method"]) == (data, shots, method)]
        scores = [100 * row["accuracy"] for row in rows]
        pairs = [
            100 * (other["accuracy"] - row["accuracy"])
            for row in rows
            if (other := kept.get(data, shots, "few-shot", row["sample"])) is not None
        ]
        spread = f" ± {statistics.stdev(pairs) / len(pairs) ** 0.5:.1f}" if len(pairs) > 1 else ""
        found.append(
            {
                "data": DATA_SETS[data].title,
                "shots": shots,
                "method": method,
                "accuracy": statistics.mean(scores),
                "spread": statistics.stdev(scores) if len(scores) > 1 else 0.0,
                "difference": f"{statistics.mean(pairs):+.1f}{spread}" if pairs and method != "few-shot" else "",
                "seconds": statistics.median(row["seconds"] for row in rows),
            }
        )
    return found


def draw_curves(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Accuracy over the records of a class, a panel for each data set."""
    from matplotlib import pyplot

    titles = list(dict.fromkeys(row["data"] for row in rows))
    figure, panels = pyplot.subplots(1, len(titles), figsize=(4.2 * len(titles), 3.4), squeeze=False, sharey=False)
    for panel, title in zip(panels[0], titles, strict=True):
        for method in METHODS:
            points = sorted(
                (row["shots"], row["accuracy"], row["spread"])
                for row in rows
                if (row["data"], row["method"]) == (title, method)
            )
            if method == "zero-shot" and points:
                panel.axhline(points[0][1], color="0.6", linestyle=":", label=method)
            elif points:
                shots, scores, spreads = zip(*points, strict=True)
                panel.errorbar(shots, scores, yerr=spreads, marker="o", capsize=2, label=method)
        panel.set_title(title)
        panel.set_xlabel("records of a class")
        panel.set_xscale("log", base=2)
    panels[0][0].set_ylabel("accuracy, %")
    panels[0][-1].legend(frameon=False, fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main(arguments: list[str] | None = None) -> int:
    """Measure what is missing, and print the table."""
    parser = command(
        __doc__,
        data=None,
        only="trec6,sst2,banking77",
        methods="zero-shot,few-shot,described,standard",
        model=None,
        threads=1,
        json=Path("few_labels.json"),
    )
    parser.add_argument("--shots", default="8,16", help="records of each class; numbers with commas between")
    parser.add_argument("--samples", type=int, default=5, help="draws of them")
    parser.add_argument("--tests", type=int, default=1000, help="records to score on")
    parser.add_argument("--choosing", action="store_true", help="score on training records that were not drawn")
    parser.add_argument("--setfit", help="the interpreter of an environment with SetFit")
    parser.add_argument("--plot", type=Path, help="file for the curves")
    options = parser.parse_args(arguments)
    chosen = names_of(parser, options.only, DATA_SETS)
    methods = names_of(parser, options.methods, METHODS)
    if lacks(options.data, [file for name in chosen for file in DATA_SETS[name].files]):
        return 0
    if "setfit" in methods and options.setfit is None:
        parser.error("--methods setfit needs --setfit PYTHON")
    set_up(options.threads)
    model, kept = options.model or find_encoder(), Kept(options.json, by=("data", "shots", "method", "sample"))

    def measure(data: str, shots: int, method: str, sample: int) -> dict[str, Any]:
        records, tests = read(options.data, data)
        train, rest = draw(records, shots, sample)
        test = (rest if options.choosing else tests)[: options.tests]
        if method == "setfit":
            return dict(ask_setfit(options.setfit, model, train, test, sample, options.threads))
        return learn(method, data, model, train, rest, test, sample)

    kinds = [
        (data, shots, method, sample)
        for data in chosen
        for shots in map(int, options.shots.split(","))
        for sample in range(options.samples)
        for method in methods
        if not (method == "described" and data not in DESCRIPTIONS) and not (method == "zero-shot" and sample)
    ]
    run_missing(kept, kinds, measure)
    rows = summarise(kept)
    print(TABLE.of(rows))
    if options.plot is not None:
        draw_curves(rows, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
