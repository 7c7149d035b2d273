"""How far a few records go where several labels may hold, and for entities: the few-shot recipe and the standard one.

python benchmarks/few_of_several.py --data FOLDER [--only conll,sample-ner,goemotions,sample-multilabel] [--samples 3]
    [--model FOLDER] [--tests 400] [--threads 1] [--json FILE]

Each sample draws records until so many have each label or type, and both recipes learn from the same ones. Scores are
on training records that were not drawn, of the sample domain on its validation records: nothing is chosen on test data.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from command import command, keep, lacks, names_of, set_up
from data_sets import DATA_SETS, Record, find_encoder

import lightadapt as la
from lightadapt import sample
from lightadapt.experiments.markdown import Table
from lightadapt.tasks import LabelledTask

RECIPES = ("standard", "few-shot")
TABLE = Table(
    "data | records | score | standard | few-shot | in pairs | error | seconds, standard | seconds, few-shot",
    "{data} | {records} | {score} | {standard:.1f} | {few:.1f} | {apart:+.1f} | {error:.1f} | {slow:.0f} | {fast:.0f}",
)


class Kind(NamedTuple):
    """Records of a task, and how many of each label are drawn."""

    task: str
    each: int
    read: Callable[[Path], tuple[list[Record], list[Record]]]
    """The records to draw from, and those to score on; none where that is the rest of the former."""


def entities_of(split: str) -> list[Record]:
    """The sample domain with its entities alone."""
    return [{"text": record["text"], "entities": record["entities"]} for record in sample.records(split)]


def labels_of(split: str) -> list[Record]:
    """The sample domain with the intent and the types of the entities as labels."""
    return [
        {"text": record["text"], "labels": sorted({record["label"], *(each["label"] for each in record["entities"])})}
        for record in sample.records(split)
    ]


KINDS = {
    "conll": Kind("ner", 10, lambda folder: (DATA_SETS["conll"].read(folder)[0], [])),
    "sample-ner": Kind("ner", 5, lambda folder: (entities_of("train"), entities_of("validation"))),
    "goemotions": Kind("multilabel", 8, lambda folder: (DATA_SETS["goemotions"].read(folder)[0], [])),
    "sample-multilabel": Kind("multilabel", 8, lambda folder: (labels_of("train"), labels_of("validation"))),
}


def draw(records: Sequence[Record], kind: Kind, seed: int) -> tuple[list[Record], list[Record]]:
    """Records until each label has as many as wanted, or all that there are; and the rest."""
    task = la.NER() if kind.task == "ner" else la.MultiLabel()
    assert isinstance(task, LabelledTask)
    labels = [set(own) for own in task.classes_of(task.parse(task.read(list(records))))]
    there = Counter(label for own in labels for label in own)
    have: Counter[Any] = Counter()
    taken, rest = [], []
    for place in random.Random(seed + 1).sample(range(len(records)), len(records)):
        wanted = any(have[label] < min(kind.each, there[label]) for label in labels[place])
        have.update(labels[place] if wanted else ())
        (taken if wanted else rest).append(records[place])
    return taken, rest


def compare(kind: Kind, model: str, folder: Path, samples: int, tests: int) -> dict[str, Any]:
    """The scores and seconds of both recipes, means over the samples."""
    records, held_out = kind.read(folder)
    scores: dict[str, list[float]] = {recipe: [] for recipe in RECIPES}
    seconds: dict[str, list[float]] = {recipe: [] for recipe in RECIPES}
    for seed in range(samples):
        train, rest = draw(records, kind, seed)
        for recipe in RECIPES:
            adapted = la.adapt(model, kind.task, seed=seed)
            start = time.perf_counter()
            adapted.fit(train, recipe=recipe, args={"disable_tqdm": True})
            seconds[recipe].append(time.perf_counter() - start)
            scores[recipe].append(100 * adapted.evaluate((held_out or rest)[:tests])[adapted.task.headline])
    apart = [few - standard for standard, few in zip(*scores.values(), strict=True)]
    return {
        "records": f"{kind.each} of each",
        "score": adapted.task.headline,
        "standard": mean(scores["standard"]),
        "few": mean(scores["few-shot"]),
        "apart": mean(apart),
        "error": stdev(apart) / len(apart) ** 0.5 if len(apart) > 1 else float("nan"),
        "slow": mean(seconds["standard"]),
        "fast": mean(seconds["few-shot"]),
    }


def main() -> int:
    """Print a row for each data set; the status of the program."""
    parser = command(__doc__, data=None, only=",".join(KINDS), model=None, threads=1, json=None)
    parser.add_argument("--samples", type=int, default=3, help="draws")
    parser.add_argument("--tests", type=int, default=400, help="records that are scored")
    options = parser.parse_args()
    names = names_of(parser, options.only, KINDS)
    files = [file for name in names if name in DATA_SETS for file in DATA_SETS[name].files]
    if lacks(options.data, files):
        return 0
    set_up(options.threads)
    print(TABLE.head, flush=True)
    rows = []
    for name in names:
        kind = KINDS[name]
        row = compare(kind, options.model or find_encoder(), options.data, options.samples, options.tests)
        rows.append({"data": name, **row})
        print(TABLE.row(rows[-1]), flush=True)
    keep(options.json, {"rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
