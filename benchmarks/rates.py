"""Which learning rate each method wants: a small sweep on two tasks with a real encoder.

python benchmarks/rates.py --data FOLDER [--methods lora,prefix] [--json FILE] [--write]

FOLDER holds `classification/banking77/{train,test}.jsonl` and `ner/conll2003/{train,dev}.conll`. The sweep takes the
first records of each class (Banking77) and the first sentences (CoNLL-2003), one seed, and the MiniLM encoder of
`lightadapt[demo]`. Each line gives accuracy and entity F1; of each method the lowest rate is marked that comes within
0.01 of the best sum of both. The defaults follow this table; docs/rates.md, which `--write` renews, says where not.
"""

from __future__ import annotations

import sys
import time
from dataclasses import fields
from functools import partial
from pathlib import Path

from command import command, lacks, names_of, renew, run_missing, set_up
from data_sets import DATA_SETS, Record, find_encoder

import lightadapt as la
from lightadapt.experiments.kept import Kept
from lightadapt.experiments.markdown import as_table
from lightadapt.methods import Method, resolve_method

HEAD = 5e-3
"""Rate of the head in all runs but those that try it."""
RATES: dict[str, list[float]] = {
    "bottleneck": [1e-3, 3e-3, 1e-2],
    "prefix": [5e-3, 2e-2, 5e-2],
    "ia3": [5e-3, 2e-2, 5e-2],
    "bitfit": [2e-3, 5e-3, 2e-2],
    "layernorm": [2e-3, 5e-3, 2e-2],
    "prompt": [1e-2, 5e-2, 2e-1],
    "full": [1e-4, 3e-4],
    "lora": [1e-3, 2e-3],
    "probe": [5e-3],
    "parallel": [1e-3, 3e-3],
    "houlsby": [1e-3, 3e-3],
}
HEADS: dict[str, list[float]] = {"lora": [1e-2], "full": [5e-3]}
"""Other rates of the head that are tried with the first rate of a method."""
EPOCHS = {"classification": 5, "ner": 3}
COLUMNS = ("method", "rate", "head's rate", "accuracy", "entity F1", "seconds")


def with_rates(method: Method, rate: float, head_rate: float) -> Method:
    """The method with other default rates; probe trains the head alone, at the head's rate."""
    kind = type(type(method).__name__, (type(method),), {"learning_rate": rate, "head_learning_rate": head_rate})
    return kind(**{each.name: getattr(method, each.name) for each in fields(method)})  # type: ignore[no-any-return]


def read_data(folder: Path, per_class: int, sentences: int) -> dict[str, tuple[list[Record], list[Record]]]:
    """Training and test records of both tasks."""
    (texts, more), (train, test) = (DATA_SETS[name].read(folder) for name in ("banking77", "conll"))
    return {
        "classification": (first_of_each(texts, per_class), first_of_each(more, 5)),
        "ner": (train[:sentences], test[:300]),
    }


def first_of_each(records: list[Record], count: int) -> list[Record]:
    """The first records of every class."""
    seen: dict[str, int] = {}
    chosen = []
    for record in records:
        seen[record["label"]] = seen.get(record["label"], 0) + 1
        chosen += [record] if seen[record["label"]] <= count else []
    return chosen


def measure(
    name: str, rate: float, head_rate: float, *, data: dict[str, tuple[list[Record], list[Record]]], model: str
) -> dict[str, float]:
    """Headline metric of each task after training a method with these rates, and the seconds of both."""
    scores, start = {}, time.perf_counter()
    method = with_rates(resolve_method(name), rate, head_rate)
    for task, (train, test) in data.items():
        adapted = la.adapt(model, task, method, labels=train, seed=0)
        adapted.fit(train, epochs=EPOCHS[task], args={"disable_tqdm": True})
        scores[task] = next(iter(adapted.evaluate(test).values()))
    return {**scores, "seconds": time.perf_counter() - start}


def trials(names: list[str]) -> list[tuple[str, float, float]]:
    """Method, its rate, and the head's rate of every run."""
    found = []
    for name in names:
        head = 1e-3 if name == "full" else HEAD
        found += [(name, rate, head) for rate in RATES[name]]
        if name != "probe":
            found += [(name, RATES[name][0], other) for other in HEADS.get(name, [])]
    return found


def as_cells(row: Record, mark: str = "") -> list[str]:
    """A line of the table, with this mark around each cell."""
    cells = [row["method"], f"{row['rate']:g}", f"{row['head_rate']:g}", f"{row['classification']:.3f}"]
    return [f"{mark}{cell}{mark}" for cell in (*cells, f"{row['ner']:.3f}", f"{row['seconds']:.0f}")]


def as_page(rows: list[Record]) -> str:
    """The results as a Markdown table; the best run of each method in bold."""
    best = {row["method"]: chosen([each for each in rows if each["method"] == row["method"]]) for row in rows}
    return as_table(COLUMNS, (as_cells(row, "**" if row is best[row["method"]] else "") for row in rows))


def chosen(results: list[Record]) -> Record:
    """Of the runs of one method the one with the lowest rate whose sum of scores is within 0.01 of the best."""
    best = max(row["classification"] + row["ner"] for row in results)
    near = [row for row in results if row["classification"] + row["ner"] > best - 0.01]
    return min(near, key=lambda row: row["rate"])


def main() -> int:
    """Run the sweep; 1 when its data is not there."""
    parser = command(__doc__, data=None, model=None, methods=",".join(RATES), json=Path("runs/rates.json"))
    parser.add_argument("--per-class", type=int, default=10, help="training records of each class of Banking77")
    parser.add_argument("--sentences", type=int, default=500, help="training sentences of CoNLL-2003")
    parser.add_argument("--write", action="store_true", help="renew docs/rates.md from the JSON file alone")
    options = parser.parse_args()
    kept = Kept(options.json, by=("method", "rate", "head_rate"))
    if options.write:
        renew("rates.md", "table", as_page(kept.rows))
        return 0
    names = names_of(parser, options.methods, RATES)
    if lacks(options.data, [*DATA_SETS["banking77"].files, *DATA_SETS["conll"].files]):
        return 1
    set_up(1)
    data = read_data(options.data, options.per_class, options.sentences)
    run_missing(kept, trials(names), partial(measure, data=data, model=options.model or find_encoder()))
    print(as_page(kept.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
