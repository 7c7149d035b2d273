"""Which learning rate each method wants: a small sweep on two tasks with a real encoder.

python benchmarks/rates.py --data FOLDER [--methods lora,prefix] [--json FILE] [--write]

FOLDER holds `classification/banking77/{train,test}.jsonl` and `ner/conll2003/{train,dev}.conll`. The sweep takes the
first records of each class (Banking77) and the first sentences (CoNLL-2003), one seed, and the MiniLM encoder of
`lightadapt[demo]`. Each line gives accuracy and entity F1; of each method the lowest rate is marked that comes within
0.01 of the best sum of both. The defaults follow this table; docs/rates.md, which `--write` renews, says where not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from measuring import find_encoder

import lightadapt as la
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


def with_rates(method: Method, rate: float, head_rate: float) -> Method:
    """The method with other default rates; probe trains the head alone, at the head's rate."""
    kind = type(type(method).__name__, (type(method),), {"learning_rate": rate, "head_learning_rate": head_rate})
    return kind(**{each.name: getattr(method, each.name) for each in fields(method)})  # type: ignore[no-any-return]


def read_data(folder: Path, per_class: int, sentences: int) -> dict[str, tuple[Any, Any]]:
    """Training and test records of both tasks."""
    banking = folder / "classification" / "banking77"
    train = [json.loads(line) for line in (banking / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    test = [json.loads(line) for line in (banking / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    conll = folder / "ner" / "conll2003"
    return {
        "classification": (first_of_each(train, per_class), first_of_each(test, 5)),
        "ner": (read_sentences(conll / "train.conll", sentences), read_sentences(conll / "dev.conll", 300)),
    }


def first_of_each(records: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The first records of every class."""
    seen: dict[str, int] = {}
    chosen = []
    for record in records:
        seen[record["label"]] = seen.get(record["label"], 0) + 1
        chosen += [record] if seen[record["label"]] <= count else []
    return chosen


def read_sentences(file: Path, count: int) -> list[dict[str, Any]]:
    """The first sentences of a CoNLL file."""
    blocks = (block.splitlines() for block in file.read_text(encoding="utf-8").split("\n\n"))
    rows = ([line.split() for line in block if line and not line.startswith("-DOCSTART-")] for block in blocks)
    full = ({"tokens": [row[0] for row in rows], "tags": [row[-1] for row in rows]} for rows in rows if rows)
    return list(islice(full, count))


def measure(method: Method, data: dict[str, tuple[Any, Any]], epochs: dict[str, int], model: str) -> dict[str, float]:
    """Headline metric of each task after training with the method's rates."""
    scores = {}
    for task, (train, test) in data.items():
        adapted = la.adapt(model, task, method, labels=train, seed=0)
        adapted.fit(train, epochs=epochs[task], args={"disable_tqdm": True})
        scores[task] = next(iter(adapted.evaluate(test).values()))
    return scores


def trials(names: list[str]) -> list[tuple[str, float, float]]:
    """Method, its rate, and the head's rate of every run."""
    found = []
    for name in names:
        head = 1e-3 if name == "full" else HEAD
        found += [(name, rate, head) for rate in RATES[name]]
        if name != "probe":
            found += [(name, RATES[name][0], other) for other in HEADS.get(name, [])]
    return found


def as_table(results: list[dict[str, Any]]) -> str:
    """The results as a Markdown table; the best run of each method in bold."""
    lines = ["| method | rate | head's rate | accuracy | entity F1 | seconds |", "|---|---|---|---|---|---|"]
    for row in results:
        same = [other for other in results if other["method"] == row["method"]]
        mark = "**" if row is chosen(same) else ""
        cells = [row["method"], f"{row['rate']:g}", f"{row['head_rate']:g}", f"{row['classification']:.3f}"]
        cells += [f"{row['ner']:.3f}", f"{row['seconds']:.0f}"]
        lines.append("| " + " | ".join(f"{mark}{cell}{mark}" for cell in cells) + " |")
    return "\n".join(lines)


def chosen(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the runs of one method the one with the lowest rate whose sum of scores is within 0.01 of the best."""
    best = max(row["classification"] + row["ner"] for row in results)
    near = [row for row in results if row["classification"] + row["ner"] > best - 0.01]
    return min(near, key=lambda row: row["rate"])


def main() -> int:
    """Run the sweep; 1 when its data is not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with classification/ and ner/")
    parser.add_argument("--model", help="hub id or folder; default: the MiniLM encoder of lightadapt[demo]")
    parser.add_argument("--methods", default=",".join(RATES))
    parser.add_argument("--per-class", type=int, default=10, help="training records of each class of Banking77")
    parser.add_argument("--sentences", type=int, default=500, help="training sentences of CoNLL-2003")
    parser.add_argument("--json", type=Path, default=Path("runs/rates.json"))
    parser.add_argument("--write", action="store_true", help="renew docs/rates.md from the JSON file alone")
    options = parser.parse_args()
    results = json.loads(options.json.read_text()) if options.json.is_file() else []
    if options.write:
        write_page(results)
        return 0
    if not (options.data / "ner").is_dir():
        print(f"skipped: {options.data} does not hold the data sets (see --help)")
        return 1
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    model = options.model or find_encoder()
    data = read_data(options.data, options.per_class, options.sentences)
    done = {(row["method"], row["rate"], row["head_rate"]) for row in results}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    for name, rate, head_rate in trials(options.methods.split(",")):
        if (name, rate, head_rate) in done:
            continue
        start = time.perf_counter()
        scores = measure(
            with_rates(resolve_method(name), rate, head_rate), data, {"classification": 5, "ner": 3}, model
        )
        seconds = time.perf_counter() - start
        results.append({"method": name, "rate": rate, "head_rate": head_rate, **scores, "seconds": seconds})
        options.json.write_text(json.dumps(results, indent=1))
        print(as_table(results[-1:]).splitlines()[-1], flush=True)
    print(as_table(results))
    return 0


def write_page(results: list[dict[str, Any]]) -> None:
    """Renew the table of docs/rates.md, below its first part."""
    page = Path(__file__).parent.parent / "docs" / "rates.md"
    text = page.read_text(encoding="utf-8").partition("<!-- table -->")[0]
    page.write_text(f"{text}<!-- table -->\n\n{as_table(results)}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
