"""What learning in steps costs: classes that come a few at a time, against all of them at once.

python benchmarks/continual.py --data FOLDER [--sets banking77,trec6] [--shots 20] [--json FILE] [--plot FILE]

FOLDER holds `classification/{banking77,trec6}/{train,test}.jsonl`. Classes come in an order drawn by a fixed seed,
Banking77 in 7 steps of 11 and TREC-6 in 3 of 2, with the same number of training records each; the encoder is MiniLM of
`lightadapt[demo]`. Four ways: all at once by one `fit`; `extend` in steps with 5 records of each class kept, and with
none; and one `fit` after another over the labels so far, which forgets. The scores are those on the test records of the
classes so far after each step; forgetting and backward transfer are as in docs/continual.md. Nothing is tuned on them.
"""

from __future__ import annotations

import random
import sys
from functools import partial
from pathlib import Path
from typing import Any

from command import command, lacks, names_of, run_missing, set_up
from data_sets import DATA_SETS, Record, choose, find_encoder

import lightadapt as la
from lightadapt.continual.forgetting import StepScores
from lightadapt.experiments.kept import Kept
from lightadapt.experiments.markdown import as_table

PARTS = {"banking77": 7, "trec6": 3}
WAYS = ("at once", "memory 5", "memory 0", "fit after fit")
QUIET = {"disable_tqdm": True}
COLUMNS = ("data", "way", "records a class", "accuracy", "to at once", "forgetting", "backward transfer")


def parts_of(records: list[Record], shots: int, parts: int) -> list[list[Record]]:
    """The training records of each step, so many of each class, in an order of the classes that is always the same."""
    labels = sorted({record["label"] for record in records})
    random.Random(0).shuffle(labels)
    size = len(labels) // parts
    by_class = {
        label: choose([each for each in records if each["label"] == label], shots, balanced=False) for label in labels
    }
    steps = [labels[number * size : (number + 1) * size if number < parts - 1 else None] for number in range(parts)]
    return [[record for label in step for record in by_class[label]] for step in steps]


def in_steps(adapted: la.Adapted, steps: list[list[Record]], test: list[Record], memory: int) -> list[dict[int, float]]:
    """The scores after each step of `extend`, by the step that brought the classes."""
    known: set[str] = set()
    for step in steps:
        known |= {record["label"] for record in step}
        of_known = [record for record in test if record["label"] in known]
        adapted.extend(step, memory=memory, validation=of_known, args=QUIET)
    return [dict(row) for row in adapted.steps.scores.matrix]


def fit_after_fit(
    adapted: la.Adapted, steps: list[list[Record]], test: list[Record], labels: list[str]
) -> list[dict[int, float]]:
    """The scores after each `fit` on the records of a step alone."""
    brought = {record["label"]: number for number, step in enumerate(steps) for record in step}
    found: list[dict[int, float]] = []
    for number, step in enumerate(steps):
        if number:
            adapted.add_labels(sorted({record["label"] for record in step}))
        adapted.fit(step, args=QUIET)
        rows = {}
        for earlier in range(number + 1):
            mine = [record for record in test if brought[record["label"]] == earlier]
            rows[earlier] = float(adapted.evaluate(mine)["accuracy"])
        found.append(rows)
    return found


def measure(name: str, way: str, shots: int, seed: int, *, folder: Path, model: str, tests: int) -> dict[str, Any]:
    """The accuracy on all classes at the end, and the scores after each step."""
    train, test = DATA_SETS[name].read(folder)
    steps = parts_of(train, shots, PARTS[name])
    test = choose(test, tests, balanced=False) if tests else test
    labels = sorted({record["label"] for step in steps for record in step})
    adapted = la.adapt(model, "classification", "lora", seed=seed)
    matrix: list[dict[int, float]] = []
    if way == "at once":
        adapted.fit([record for step in steps for record in step], args=QUIET)
    elif way == "fit after fit":
        matrix = fit_after_fit(adapted, steps, test, labels)
    else:
        matrix = in_steps(adapted, steps, test, int(way.rpartition(" ")[2]))
    return {"accuracy": float(adapted.evaluate(test)["accuracy"]), "matrix": matrix}


def as_rows(rows: list[Record]) -> list[list[str]]:
    """A line of the table for each run."""
    at_once = {(row["data"], row["shots"], row["seed"]): row["accuracy"] for row in rows if row["way"] == "at once"}
    found = []
    for row in rows:
        best = at_once.get((row["data"], row["shots"], row["seed"]))
        scores = StepScores("accuracy", [{int(step): value for step, value in each.items()} for each in row["matrix"]])
        last = scores.rows()[-1] if row["matrix"] else {}
        cells = (last.get("forgetting"), last.get("backward transfer"))
        found.append(
            [
                row["data"],
                row["way"],
                str(row["shots"]),
                f"{100 * row['accuracy']:.1f}",
                "" if best is None else f"{100 * (row['accuracy'] - best):+.1f}",
                *("" if cell is None else f"{100 * cell:.1f}" for cell in cells),
            ]
        )
    return found


def draw(rows: list[Record], path: Path) -> None:
    """The average score over the steps of each way, one line each."""
    from lightadapt.display.figures import finish, start_figure

    figure, axes = start_figure(x="step", y="mean accuracy on the classes so far")
    for row in rows:
        averages = [
            each["average"]
            for each in StepScores(
                "accuracy", [{int(step): value for step, value in each.items()} for each in row["matrix"]]
            ).rows()
        ]
        if averages:
            axes.plot(range(len(averages)), averages, marker="o", label=f"{row['data']}, {row['way']}")
        else:
            axes.axhline(row["accuracy"], linestyle=":", linewidth=1, label=f"{row['data']}, {row['way']}")
    axes.legend(frameon=False, fontsize=8)
    finish(figure, path)


def main() -> int:
    """Run what is missing; 1 when the data is not there."""
    parser = command(__doc__, data=None, model=None, json=Path("runs/continual.json"))
    parser.add_argument("--sets", default=",".join(PARTS), help="data sets, with commas between them")
    parser.add_argument("--ways", default=",".join(WAYS), help="ways to learn, with commas between them")
    parser.add_argument("--shots", type=int, default=20, help="training records of each class")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds")
    parser.add_argument("--tests", type=int, default=0, help="test records; 0: all")
    parser.add_argument("--plot", type=Path, help="a file for the picture: .png, .svg or .pdf")
    options = parser.parse_args()
    kept = Kept(options.json, by=("data", "way", "shots", "seed"))
    sets, ways = names_of(parser, options.sets, PARTS), names_of(parser, options.ways, WAYS)
    if lacks(options.data, [file for name in sets for file in DATA_SETS[name].files]):
        return 1
    set_up(1)
    runs = [(name, way, options.shots, seed) for seed in range(options.seeds) for name in sets for way in ways]
    model = options.model or find_encoder()
    run_missing(kept, runs, partial(measure, folder=options.data, model=model, tests=options.tests))
    print(as_table(COLUMNS, as_rows(kept.rows)))
    if options.plot:
        draw(kept.rows, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
