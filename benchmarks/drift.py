"""How often drift is found where there is some, and where there is none; and how well unknown classes are told.

python benchmarks/drift.py --data FOLDER [--records 3000] [--epochs 4] [--draws 200] [--threads 1] [--json FILE]

FOLDER holds `classification/banking77` and `classification/trec6`. MiniLM learns so many records of Banking77 with
LoRA, and a tenth of them is its validation data. Then 100 texts at a time are compared with what `fit` kept: texts of
the training file that were not used, texts of the test file (where all classes are equally frequent, which they are not
in the training file), and the same with some of them replaced by questions of TREC. An alarm is p <= 0.05.

For unknown classes, a quarter of the classes is left out of the training, drawn anew for each of `--rounds`; the table
has the area under the ROC curve on the test file, and what part of each kind is answered with None. Beside it stands
the area by the probability of the predicted class alone.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from command import command, keep, lacks, set_up
from data_sets import DATA_SETS, Record, find_encoder
from sklearn.metrics import roc_auc_score

import lightadapt as la
from lightadapt.adaptation.vectors import base_vectors
from lightadapt.experiments.markdown import Table
from lightadapt.stream.drift import compare
from lightadapt.stream.summary import predicted_labels, predictions_of, summarize
from lightadapt.stream.unknown import UNKNOWN

LEVEL = 0.05
TEXTS = 100
FOREIGN = (0, 5, 10, 20)
"""Questions of TREC among 100 texts."""
LEFT_OUT = 0.25
"""The part of the classes that is unknown."""
DRIFT = Table(
    "texts | of TREC | alarms | new texts | labels | said to be unlike",
    "{texts} | {foreign} % | {alarms:.1%} | {new:.1%} | {labels:.1%} | {unlike:.1%}",
)
CLASSES = Table(
    "round | known classes | AUROC | by probability alone | None of known | None of unknown",
    "{round} | {known} | {auroc:.3f} | {probability:.3f} | {none_known:.1%} | {none_unknown:.1%}",
)


class Pool:
    """Texts with their vectors and predicted labels, which are computed once."""

    def __init__(self, adapted: la.Adapted, records: Sequence[Record]) -> None:
        task = adapted.task
        texts = [{"text": record["text"]} for record in records]
        examples = task.parse(task.read(texts, labelled=False), labelled=False)
        self.vectors = base_vectors(adapted.runner, examples)
        self.labels = predicted_labels(adapted.runner, examples, predictions_of(adapted.runner, examples))

    def draw(self, count: int, rng: random.Random) -> tuple[np.ndarray, list[set[str]]]:
        """So many of them by chance."""
        chosen = rng.sample(range(len(self.labels)), count)
        return self.vectors[chosen], [self.labels[place] for place in chosen]


def learn(train: Sequence[Record], epochs: int) -> tuple[la.Adapted, float]:
    """An adaptation that has learned the records, and what part of the time of `fit` its summary takes."""
    adapted = la.adapt(find_encoder(), "classification", labels=list(train), device="cpu")
    start = time.perf_counter()
    history = adapted.fit(list(train), 0.1, epochs=epochs, args={"disable_tqdm": True}, summary=False)
    seconds = time.perf_counter() - start
    held_out = set(history.held_out)
    parts = [[each for number, each in enumerate(train) if (number in held_out) == side] for side in (False, True)]
    learned, validation = (adapted.task.parse(adapted.task.read(part)) for part in parts)
    start = time.perf_counter()
    summary = summarize(adapted.runner, learned, validation)
    cost = (time.perf_counter() - start) / seconds
    adapted.runner.last_run = replace(adapted.runner.last_run, summary=summary)
    return adapted, cost


def count_alarms(adapted: la.Adapted, pools: dict[str, Pool], foreign: Pool, draws: int) -> list[dict[str, Any]]:
    """The part of the draws in which drift is found, for each pool and each number of foreign texts."""
    kept, rows = adapted.runner.last_run.summary, []
    assert kept is not None
    for name, pool in pools.items():
        for count in FOREIGN:
            rng, found = random.Random(count), []
            for _ in range(draws):
                own, others = pool.draw(TEXTS - count, rng), foreign.draw(count, rng)
                found.append(compare(kept, np.concatenate([own[0], others[0]]), own[1] + others[1]))
            tests = {
                short: [2 * each.p_values[test] <= LEVEL for each in found]
                for short, test in (("new", "new texts"), ("labels", "labels"))
            }
            rows.append(
                {
                    "texts": name,
                    "foreign": count,
                    "alarms": mean(map(any, zip(*tests.values(), strict=True))),
                    **{test: mean(alarms) for test, alarms in tests.items()},
                    "unlike": mean(float((each.distances > each.limit).mean()) for each in found),
                }
            )
            print(DRIFT.row(rows[-1]), flush=True)
    return rows


def tell_unknown(
    train: Sequence[Record], test: Sequence[Record], number: int, records: int, epochs: int
) -> dict[str, Any]:
    """How well texts of classes that were left out are told from those of the others."""
    labels = sorted({record["label"] for record in train})
    known = set(random.Random(number).sample(labels, round(len(labels) * (1 - LEFT_OUT))))
    adapted, _ = learn([record for record in train if record["label"] in known][:records], epochs)
    scores = adapted.predict([record["text"] for record in test], unknown=True, scores=True)
    strange = np.array([record["label"] not in known for record in test])
    unknown = np.array([each.pop(UNKNOWN) for each in scores])
    return {
        "round": number,
        "known": len(known),
        "auroc": float(roc_auc_score(strange, unknown)),
        "probability": float(roc_auc_score(strange, [-max(each.values()) for each in scores])),
        "none_known": float((unknown[~strange] > 0.5).mean()),
        "none_unknown": float((unknown[strange] > 0.5).mean()),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the tables."""
    parser = command(__doc__, data=None, rounds=1, threads=1, json=None)
    parser.add_argument("--records", type=int, default=3_000, help="records to learn; default: %(default)s")
    parser.add_argument("--epochs", type=int, default=4, help="passes over them; default: %(default)s")
    parser.add_argument("--draws", type=int, default=200, help="of 100 texts each; default: %(default)s")
    options = parser.parse_args(arguments)
    data = {name: DATA_SETS[name] for name in ("banking77", "trec6")}
    if lacks(options.data, [file for each in data.values() for file in each.files]):
        return 0
    set_up(options.threads)
    train, test = data["banking77"].read(Path(options.data))
    foreign = data["trec6"].read(Path(options.data))[1]
    train = random.Random(0).sample(train, len(train))
    adapted, cost = learn(train[: options.records], options.epochs)
    print(f"The summary took {cost:.1%} of the time of fit.\n{DRIFT.head}", flush=True)
    pools = {"not used for training": train[options.records :][:3_000], "test file": test}
    filled = {name: Pool(adapted, records) for name, records in pools.items()}
    rows = count_alarms(adapted, filled, Pool(adapted, foreign), options.draws)
    print(f"\n{CLASSES.head}", flush=True)
    classes = []
    for number in range(options.rounds):
        classes.append(tell_unknown(train, test, number, options.records, options.epochs))
        print(CLASSES.row(classes[-1]), flush=True)
    keep(options.json, {"summary_cost": cost, "drift": rows, "unknown": classes})
    return 0


if __name__ == "__main__":
    sys.exit(main())
