"""How fast `predict` is, against transformers' pipeline with the same weights in the same process.

python benchmarks/predict_speed.py --data FOLDER [--task ner] [--texts 1000] [--rounds 3] [--threads 1] [--json FILE]

FOLDER holds `ner/conll2003` and `classification/banking77`. The MiniLM of `lightadapt[demo]` is adapted with LoRA and
trained for a moment, so that it finds something. The pipeline gets the merged model, a plain one without LoRA, and
takes 32 texts at a time. Both sides take the texts of the test set as strings and give entities (for the pipeline with
`aggregation_strategy="simple"`) or labels; they take turns, and the table has the medians of the rounds. The last
column is the share of texts for which both say the same; entities differ where the pipeline gives pieces of words.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from data_sets import choose
from measuring import both_clocks, describe_machine, find_encoder, quiet
from train_speed import TASKS
from transformers import pipeline

import lightadapt as la

TEST_FILES = {"ner": "ner/conll2003/test.conll", "classification": "classification/banking77/test.jsonl"}
PIPELINES = {"ner": "token-classification", "classification": "text-classification"}
BATCH = 32
Predict = Callable[[list[str]], list[Any]]


def make_sides(task: str, model: str, train: list[dict[str, Any]], labels: Any, folder: str) -> dict[str, Predict]:
    """Both sides, each a function of texts whose results can be compared."""
    adapted = la.adapt(model, task, "lora", labels=labels, device="cpu")
    adapted.fit(train, epochs=2, args={"disable_tqdm": True})
    adapted.merge().save_pretrained(folder)
    adapted.tokenizer.save_pretrained(folder)
    options = {"aggregation_strategy": "simple"} if task == "ner" else {}
    pipe = pipeline(PIPELINES[task], model=folder, batch_size=BATCH, device="cpu", **options)
    if task == "ner":
        return {"pipeline": lambda texts: list(pipe(texts)), "lightadapt": adapted.predict}
    return {
        "pipeline": lambda texts: [found["label"] for found in pipe(texts)],
        "lightadapt": adapted.predict,
    }


def comparable(task: str, prediction: Any) -> Any:
    """A prediction without its scores."""
    if task != "ner":
        return prediction
    return {(found["start"], found["end"], found.get("entity_group", found.get("label"))) for found in prediction}


def measure(task: str, sides: dict[str, Predict], texts: list[str], rounds: int) -> dict[str, Any]:
    """Texts a second of each side, on the wall and of the CPU, and how often the sides agree."""
    found: dict[str, Any] = {side: {"wall": [], "cpu": []} for side in sides}
    results: dict[str, list[Any]] = {}
    for predict in sides.values():
        predict(texts[:BATCH])
    for _ in range(rounds):
        for side, predict in sides.items():
            start = both_clocks()
            results[side] = predict(texts)
            end = both_clocks()
            for name, begin, stop in zip(("wall", "cpu"), start, end, strict=True):
                found[side][name].append(len(texts) / (stop - begin))
    pairs = zip(*results.values(), strict=True)
    same = sum(comparable(task, one) == comparable(task, other) for one, other in pairs)
    return {"sides": found, "same": same / len(texts)}


def read(task: str, data: Path, count: int, records: int) -> tuple[list[dict[str, Any]], list[str], Any]:
    """Training records, texts to predict for, and the labels."""
    kind = {"ner": la.NER, "classification": la.Classification}[task]()
    train, test = list(kind.read(data / TASKS[task].train)), list(kind.read(data / TEST_FILES[task]))
    texts = [record["text"] if task == "classification" else " ".join(record["tokens"]) for record in test]
    chosen = choose(train, records, balanced=task == "classification")
    return chosen, texts[:count] if count else texts, train


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table; 1 when the data is not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--task", choices=list(TEST_FILES), help="default: both")
    parser.add_argument("--texts", type=int, default=1000, help="of the test set; 0: all")
    parser.add_argument("--records", type=int, default=400, help="to train on")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", help="folder of another encoder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    tasks = [options.task] if options.task else list(TEST_FILES)
    missing = [task for task in tasks if not (options.data and (options.data / TEST_FILES[task]).is_file())]
    if missing:
        print(f"skipped: {options.data} does not hold {TEST_FILES[missing[0]]} (see --help)")
        return 1
    quiet()
    torch.set_num_threads(options.threads)
    facts: dict[str, Any] = {"machine": describe_machine("cpu")}
    print("| task | texts | pipeline, texts/s | lightadapt, texts/s | ratio | ratio of the CPU's | same |")
    print("|---|---|---|---|---|---|---|")
    for task in tasks:
        train, texts, labels = read(task, options.data, options.texts, options.records)
        with tempfile.TemporaryDirectory() as folder:
            sides = make_sides(task, options.model or find_encoder(), train, labels, folder)
            facts[task] = measure(task, sides, texts, options.rounds)
        print(as_row(task, len(texts), facts[task]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(facts, indent=1))
    return 0


def as_row(task: str, count: int, facts: dict[str, Any]) -> str:
    """A line of the table."""
    theirs, their_cpu, ours, our_cpu = [
        statistics.median(facts["sides"][side][clock])
        for side in ("pipeline", "lightadapt")
        for clock in ("wall", "cpu")
    ]
    return (
        f"| {task} | {count:,} | {theirs:,.0f} | {ours:,.0f} | {ours / theirs:.2f} | {our_cpu / their_cpu:.2f} | "
        f"{facts['same']:.0%} |"
    )


if __name__ == "__main__":
    sys.exit(main())
