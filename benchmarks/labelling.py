"""How well wrong labels are found, and how many labels a choice of records saves, with MiniLM.

python benchmarks/labelling.py --data FOLDER [--only suspects,thorough,removing,choosing,frozen,rounds] [--rounds 5]

`suspects`: a tenth of the training labels is flipped to others by chance; the first tenth of what `suspects` returns is
held against them, by its default, and (`thorough`) by fine-tuned folds on 1,000 records. `removing`: test accuracy of
LoRA with the wrong labels, without the suspects, and with right labels alone. `choosing`: what `choose` gives in one go
before anything is learned, against records by chance for each class, for a logistic regression on the vectors.
`frozen`: the same in rounds, with its doubts. `rounds`: LoRA on TREC-6, which learns from some records, chooses more,
and learns again from all.

Training data alone is chosen from; test data is for the scores that are reported. The folder is that of quality.py.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import numpy as np
from command import command, keep, lacks, names_of, set_up
from data_sets import DATA_SETS, Record, find_encoder
from sklearn.linear_model import LogisticRegression

import lightadapt as la
from lightadapt.adaptation.vectors import vectors_of
from lightadapt.labelling.choosing import SURE
from lightadapt.labelling.covering import cover

SHARE = 0.1
"""Of the labels, which are flipped."""
SHOTS = 16
"""Records of each class by chance, against which choices are held."""
PARTS = (0.15, 0.3, 0.5, 0.7)
"""Of as many labels, those that a choice gets."""
SETS = ("banking77", "trec6")
Row = dict[str, Any]


def flipped(records: Sequence[Record], seed: int) -> tuple[list[Record], set[int]]:
    """The records with a share of the labels changed to others, and the places of those."""
    chance = random.Random(seed)
    labels = sorted({record["label"] for record in records})
    wrong = set(chance.sample(range(len(records)), round(SHARE * len(records))))
    found = [
        {**record, "label": chance.choice([each for each in labels if each != record["label"]])}
        if place in wrong
        else record
        for place, record in enumerate(records)
    ]
    return found, wrong


def find(name: str, folder: Path, seed: int, *, thorough: bool = False) -> Row:
    """Precision and recall of the first tenth, and of all that is returned."""
    records, _ = DATA_SETS[name].read(folder)
    if thorough:
        records = random.Random(seed).sample(list(records), 1_000)
    noisy, wrong = flipped(records, seed)
    adapted, start = la.adapt(find_encoder(), "classification", seed=seed), time.perf_counter()
    found = [each.index for each in adapted.suspects(noisy, thorough=thorough)]
    seconds = time.perf_counter() - start
    first = wrong & set(found[: len(wrong)])
    hits = wrong & set(found)
    return {
        "records": len(records),
        "seconds": round(seconds, 1),
        "precision of the first tenth": len(first) / min(len(wrong), max(1, len(found))),
        "recall of the first tenth": len(first) / len(wrong),
        "returned": len(found),
        "precision": len(hits) / max(1, len(found)),
        "recall": len(hits) / len(wrong),
    }


def remove(name: str, folder: Path, seed: int) -> Row:
    """Test accuracy of LoRA after learning from all, from what `suspects` leaves, and from right labels alone."""
    records, test = DATA_SETS[name].read(folder)
    noisy, wrong = flipped(records, seed)
    found = la.adapt(find_encoder(), "classification", seed=seed).suspects(noisy)
    removed = {each.index for each in found[: len(wrong)]}
    kept = {"noisy": set(), "without the first tenth of suspects": removed, "right labels alone": wrong}
    return {
        title: learned_accuracy([each for place, each in enumerate(noisy) if place not in out], test, seed)
        for title, out in kept.items()
    }


def learned_accuracy(records: list[Record], test: list[Record], seed: int) -> float:
    """Test accuracy of LoRA with its defaults."""
    labels = sorted({record["label"] for record in records})
    return taught(la.adapt(find_encoder(), "classification", labels=labels, seed=seed), records, test)


def taught(adapted: la.Adapted, records: list[Record], test: list[Record]) -> float:
    """Test accuracy of an adaptation after learning from these records."""
    adapted.fit(records, args={"disable_tqdm": True})
    return adapted.evaluate(test)["accuracy"]


@cache
def vectors(name: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Those of the training and of the test texts, by the base."""
    runner = la.adapt(find_encoder(), "classification").runner
    parts = (runner.task.parse(runner.task.read(list(part))) for part in DATA_SETS[name].read(folder))
    train, test = (vectors_of(runner, examples, adapted=False) for examples in parts)
    return train, test


def accuracy(name: str, folder: Path, places: Sequence[int]) -> float:
    """Test accuracy of a logistic regression that knows the labels of these training records."""
    inputs, tests = vectors(name, folder)
    train, test = DATA_SETS[name].read(folder)
    model = LogisticRegression(C=16, max_iter=300).fit(inputs[places], [train[place]["label"] for place in places])
    return float(model.score(tests, [record["label"] for record in test]))


def shots(records: Sequence[Record], seed: int) -> list[int]:
    """The places of `SHOTS` records of each class by chance."""
    chance, by_label = random.Random(seed), defaultdict(list)
    for place, record in enumerate(records):
        by_label[record["label"]].append(place)
    return [place for _, members in sorted(by_label.items()) for place in chance.sample(members, SHOTS)]


def choose_at_once(name: str, folder: Path, seed: int) -> Row:
    """Accuracies by the number of labels; the choice does not depend on the seed."""
    train, _ = DATA_SETS[name].read(folder)
    by_chance = shots(train, seed)
    found = {f"{len(by_chance)} by chance": accuracy(name, folder, by_chance)}
    counts = [round(part * len(by_chance)) for part in PARTS]
    order = [each.index for each in chosen_at_once(name, folder, max(counts))]
    return found | {f"{count} chosen": accuracy(name, folder, order[:count]) for count in counts}


@cache
def chosen_at_once(name: str, folder: Path, count: int) -> Any:
    """What an adaptation chooses that has learned nothing."""
    train, _ = DATA_SETS[name].read(folder)
    return la.adapt(find_encoder(), "classification").choose([record["text"] for record in train], count)


def choose_frozen(name: str, folder: Path, seed: int) -> Row:
    """Accuracies by the number of labels, where a logistic regression learns and doubts; the same for every seed."""
    train, _ = DATA_SETS[name].read(folder)
    by_chance = shots(train, seed)
    found = {f"{len(by_chance)} by chance": accuracy(name, folder, by_chance)}
    return found | chosen_frozen(name, folder, len(by_chance))


@cache
def chosen_frozen(name: str, folder: Path, of: int) -> Row:
    """Accuracies after each round, for the `PARTS` of so many labels."""
    train, _ = DATA_SETS[name].read(folder)
    inputs, _ = vectors(name, folder)
    weights, known, found = np.ones(len(inputs), dtype=np.float32), list[int](), {}
    for part in PARTS:
        picks = cover(inputs, weights, round(part * of) - len(known), known=inputs[known], seed=0)
        known += [pick.place for pick in picks]
        found[f"{len(known)} chosen"] = accuracy(name, folder, known)
        model = LogisticRegression(C=16, max_iter=300).fit(inputs[known], [train[place]["label"] for place in known])
        highest = np.sort(model.predict_proba(inputs), axis=1)
        weights = (np.maximum(SURE, 1 - highest[:, -1] + highest[:, -2]) ** 2).astype(np.float32)
    return found


def choose_in_rounds(name: str, folder: Path, seed: int) -> Row:
    """Accuracies of LoRA by the number of labels."""
    train, test = DATA_SETS[name].read(folder)
    by_chance = shots(train, seed)
    found = {f"{len(by_chance)} by chance": learned_accuracy([train[place] for place in by_chance], test, seed)}
    labels, known = sorted({record["label"] for record in train}), list[int]()
    adapted = la.adapt(find_encoder(), "classification", labels=labels, seed=seed)
    for part in PARTS:
        rest = sorted(set(range(len(train))) - set(known))
        wanted = round(part * len(by_chance)) - len(known)
        labelled = [train[place]["text"] for place in known] or None
        chosen = adapted.choose([train[place]["text"] for place in rest], wanted, labelled=labelled)
        known += [rest[each.index] for each in chosen]
        adapted = la.adapt(find_encoder(), "classification", labels=labels, seed=seed)
        found[f"{len(known)} chosen"] = taught(adapted, [train[place] for place in known], test)
    return found


def thoroughly(name: str, folder: Path, seed: int) -> Row:
    """As `find`, by fine-tuned folds, on fewer records."""
    return find(name, folder, seed, thorough=True)


MEASURED: dict[str, tuple[Callable[[str, Path, int], Row], tuple[str, ...]]] = {
    "suspects": (find, SETS),
    "thorough": (thoroughly, ("trec6",)),
    "removing": (remove, ("banking77",)),
    "choosing": (choose_at_once, SETS),
    "frozen": (choose_frozen, SETS),
    "rounds": (choose_in_rounds, ("trec6",)),
}
"""What each part measures, and on which data."""


def table(rows: Sequence[Row]) -> str:
    """The means over the rounds, and how far they spread, in Markdown."""
    lines = ["| | mean | spread |", "|---|---|---|"]
    for key in rows[0]:
        values = [row[key] for row in rows]
        lines.append(f"| {key} | {mean(values):,.4g} | {pstdev(values):.2g} |")
    return "\n".join(lines)


def main() -> None:
    """Print a table for each part and data set."""
    parser = command(__doc__, data=None, only=",".join(MEASURED), rounds=5, threads=1, json=None)
    arguments = parser.parse_args()
    names = names_of(parser, arguments.only, MEASURED)
    if lacks(arguments.data, [file for name in SETS for file in DATA_SETS[name].files]):
        return
    set_up(arguments.threads)
    kept: dict[str, list[Row]] = {}
    for name in names:
        measure, sets = MEASURED[name]
        for data in sets:
            kept[f"{name} {data}"] = [measure(data, arguments.data, seed) for seed in range(arguments.rounds)]
            print(f"\n{name}, {DATA_SETS[data].title}\n\n{table(kept[f'{name} {data}'])}", flush=True)
            keep(arguments.json, {"rounds": arguments.rounds, "measured": kept})


if __name__ == "__main__":
    main()
