"""What ending trials early is worth in a search: full runs of random settings, and what a search would see of them.

python benchmarks/tuning.py --data FOLDER [--settings 24] [--json FILE]

FOLDER holds `classification/trec6/{train,test}.jsonl`. Settings are drawn from the space that `tune` searches by
default, the default ones first, and each is trained to its end with the MiniLM encoder of `lightadapt[demo]`, scored at
every epoch. Then the trials are replayed in many random orders, with no pruner, with that of `tune` and with Optuna's:
a trial that is broken off costs what it had cost until then. The table gives the best score that is found for a share
of the cost of all full runs, and how often it is within 0.5 points of the best of all.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from command import command, lacks, run_missing, set_up
from data_sets import DATA_SETS, Record, find_encoder
from transformers import TrainerCallback

import lightadapt as la
from lightadapt.experiments.kept import Kept
from lightadapt.experiments.markdown import as_table
from lightadapt.experiments.tuning.pruning import AtCheckpoints
from lightadapt.experiments.tuning.space import Found, Space, make_space
from lightadapt.methods import resolve_method
from lightadapt.methods.ranges import Span

METHODS = ("lora", "bottleneck", "ia3")
EPOCHS = 4
SHARES = (0.15, 0.3, 0.6, 1.0)
"""Of the cost of all full runs."""
PRUNERS = {
    "none (random search)": optuna.pruners.NopPruner(),
    "tune's": AtCheckpoints(),
    "Optuna's median": optuna.pruners.MedianPruner(n_startup_trials=3),
    "Optuna's halving": optuna.pruners.SuccessiveHalvingPruner(min_resource=25, reduction_factor=2),
}


class Curve(TrainerCallback):
    """The score of each evaluation, by hundredths of the schedule."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Keep the score with its place."""
        self.points.append((round(100 * state.global_step / state.max_steps), metrics["eval_accuracy"]))


def draw_settings(count: int, tokens: int) -> list[tuple[Space, dict[str, Any]]]:
    """The default settings, and others at random from the space of a search."""
    found = Found("standard", EPOCHS, la.LoRA.learning_rate, la.LoRA.head_learning_rate, tokens, True)
    methods = {name: resolve_method(name) for name in METHODS}
    asked = {"epochs": Span(EPOCHS // 2, EPOCHS * 2, True, True)}
    space = make_space(methods, asked, found, uneven=False, refuses=lambda method: "")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    default = {"method": METHODS[0], **found.settings}
    return [(space, default), *((space, space.suggest(study.ask())) for _ in range(count - 1))]


def measure(
    number: int, *, drawn: list[tuple[Space, dict[str, Any]]], records: list[list[Record]], model: str
) -> Record:
    """The curve of one setting, trained to its end, and its seconds."""
    (space, settings), (train, dev) = drawn[number], records
    curve, start = Curve(), time.perf_counter()
    adapted = la.adapt(model, "classification", space.method_of(settings), labels=train, seed=0)
    options = {key: value for key, value in settings.items() if key != "method" and "." not in key}
    adapted.fit(train, dev, callbacks=[curve], args={"disable_tqdm": True}, recipe="standard", **options)
    return {"settings": settings, "points": curve.points, "seconds": time.perf_counter() - start}


def replay(rows: list[Record], pruner: Any, budget: float) -> float:
    """The best score that a search in this order finds with so many seconds."""
    study = optuna.create_study(direction="maximize", pruner=pruner, sampler=optuna.samplers.RandomSampler())
    best, spent = 0.0, 0.0
    for row in rows:
        trial, ended = study.ask(), 100
        for step, score in row["points"]:
            trial.report(score, step)
            if step < 100 and trial.should_prune():
                ended = step
                break
        spent += row["seconds"] * ended / 100
        if spent > budget:
            break
        top = max(score for step, score in row["points"] if step <= ended)
        if ended < 100:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, top)
            best = max(best, top)
    return best


def as_page(rows: list[Record], orders: int) -> str:
    """For each pruner and share of the cost the mean of the best score, and how often it is near the best of all."""
    whole = sum(row["seconds"] for row in rows)
    top = max(score for row in rows for _, score in row["points"])
    lines = []
    for name, pruner in PRUNERS.items():
        cells = [name]
        for share in SHARES:
            chance = random.Random(0)
            found = [
                replay([rows[0], *chance.sample(rows[1:], len(rows) - 1)], pruner, share * whole) for _ in range(orders)
            ]
            near = sum(score >= top - 0.005 for score in found) / orders
            cells.append(f"{statistics.fmean(found):.4f} ({near:.0%})")
        lines.append(cells)
    return as_table(["pruner", *(f"{share:.0%} of the cost" for share in SHARES)], lines)


def main() -> int:
    """Train the settings and replay them; 1 when the data is not there."""
    parser = command(__doc__, data=None, model=None, json=Path("runs/tuning.json"))
    parser.add_argument("--settings", type=int, default=24, help="settings that are trained")
    parser.add_argument("--records", type=int, default=500, help="training records")
    parser.add_argument("--orders", type=int, default=100, help="random orders of the trials")
    options = parser.parse_args()
    if lacks(options.data, DATA_SETS["trec6"].files):
        return 1
    set_up(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kept = Kept(options.json, by=("setting",))
    every, _ = DATA_SETS["trec6"].read(options.data)
    chosen = random.Random(0).sample(every, options.records + 400)
    records = [chosen[: options.records], chosen[options.records :]]
    run = partial(
        measure, drawn=draw_settings(options.settings, 200), records=records, model=options.model or find_encoder()
    )
    run_missing(kept, [(number,) for number in range(options.settings)], run)
    rows = sorted(kept.rows, key=lambda row: int(row["setting"]))
    best, default = (max(score for row in some for _, score in row["points"]) for some in (rows, rows[:1]))
    print(f"the best of {len(rows)}: {best:.4f}; the default settings: {default:.4f}")
    print(as_page(rows, options.orders))
    return 0


if __name__ == "__main__":
    sys.exit(main())
