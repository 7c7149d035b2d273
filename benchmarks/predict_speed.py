"""How fast `predict` is, against transformers' pipeline with the same weights in the same process.

python benchmarks/predict_speed.py --data FOLDER [--task ner] [--texts 1000] [--join 1] [--rounds 3] [--threads 1]

FOLDER holds `ner/conll2003` and `classification/banking77`. The MiniLM of `lightadapt[demo]` is adapted with LoRA and
trained for a moment, so that it finds something. The pipeline gets the merged model, a plain one without LoRA, and
takes 32 texts at a time. Both sides take the texts of the test set as strings and give entities (for the pipeline with
`aggregation_strategy="simple"`) or labels; they take turns, and the table has the medians of the rounds. The last
column is the share of texts for which both say the same; entities differ where the pipeline gives pieces of words.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from command import command, keep, lacks, set_up
from data_sets import DATA_SETS, Chosen, Work, find_encoder
from measuring import both_clocks, take_turns
from transformers import pipeline

import lightadapt as la
from lightadapt.experiments.markdown import Table

TASKS = {"ner": replace(DATA_SETS["conll"], test="test.conll"), "classification": DATA_SETS["banking77"]}
PIPELINES = {"ner": "token-classification", "classification": "text-classification"}
BATCH = 32
Predict = Callable[[list[str]], list[Any]]
TABLE = Table(
    "task | texts | pipeline, texts/s | lightadapt, texts/s | ratio | ratio of the CPU's | same",
    "{task} | {texts:,} | {theirs:,.0f} | {ours:,.0f} | {ratio:.2f} | {cpu_ratio:.2f} | {same:.0%}",
)


def make_sides(task: str, model: str, chosen: Chosen, folder: str) -> dict[str, Predict]:
    """Both sides, each a function of texts whose results can be compared."""
    adapted = la.adapt(model, chosen.task, "lora", device="cpu")
    adapted.fit(chosen.train, epochs=2, args={"disable_tqdm": True})
    adapted.merge().save_pretrained(folder)
    adapted.tokenizer.save_pretrained(folder)
    options = {"aggregation_strategy": "simple"} if task == "ner" else {}
    pipe = pipeline(PIPELINES[task], model=folder, batch_size=BATCH, device="cpu", **options)
    if task == "ner":
        return {"pipeline": lambda texts: list(pipe(texts)), "lightadapt": adapted.predict}
    return {"pipeline": lambda texts: [found["label"] for found in pipe(texts)], "lightadapt": adapted.predict}


def comparable(task: str, prediction: Any) -> Any:
    """A prediction without its scores."""
    if task != "ner":
        return prediction
    return {(found["start"], found["end"], found.get("entity_group", found.get("label"))) for found in prediction}


def timed(predict: Predict, texts: list[str]) -> dict[str, Any]:
    """Texts a second on the wall and of the CPU, and what was predicted."""
    start = both_clocks()
    found = predict(texts)
    end = both_clocks()
    speeds = [len(texts) / (stop - begin) for begin, stop in zip(start, end, strict=True)]
    return {"wall": speeds[0], "cpu": speeds[1], "found": found}


def measure(task: str, sides: dict[str, Predict], texts: list[str], rounds: int) -> dict[str, Any]:
    """The speeds of each side in each round, and the share of texts for which the sides agree."""
    for predict in sides.values():
        predict(texts[:BATCH])
    runs = take_turns({side: partial(timed, predict, texts) for side, predict in sides.items()}, rounds)
    pairs = zip(*(mine[-1]["found"] for mine in runs.values()), strict=True)
    same = sum(comparable(task, one) == comparable(task, other) for one, other in pairs)
    speeds = {side: {clock: [run[clock] for run in mine] for clock in ("wall", "cpu")} for side, mine in runs.items()}
    return {"sides": speeds, "same": same / len(texts)}


def as_row(task: str, count: int, facts: dict[str, Any]) -> str:
    """A line of the table."""
    theirs, their_cpu, ours, our_cpu = [
        statistics.median(facts["sides"][side][clock])
        for side in ("pipeline", "lightadapt")
        for clock in ("wall", "cpu")
    ]
    ratios = {"ratio": ours / theirs, "cpu_ratio": our_cpu / their_cpu, "same": facts["same"]}
    return TABLE.row({"task": task, "texts": count, "theirs": theirs, "ours": ours, **ratios})


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table; 1 when the data is not there."""
    parser = command(__doc__, data=None, rounds=3, threads=1, model=None, json=None)
    parser.add_argument("--task", choices=list(TASKS), help="default: both")
    parser.add_argument("--texts", type=int, default=1000, help="of the test set; 0: all")
    parser.add_argument("--records", type=int, default=400, help="to train on")
    parser.add_argument("--join", type=int, default=1, help="texts of the test set that are one long text")
    options = parser.parse_args(arguments)
    tasks = [options.task] if options.task else list(TASKS)
    if lacks(options.data, [file for task in tasks for file in TASKS[task].files]):
        return 1
    set_up(options.threads)
    facts: dict[str, Any] = {}
    print(TABLE.head)
    for task in tasks:
        chosen = Work(TASKS[task], options.records, 0, 2).read(options.data)
        records = TASKS[task].read(options.data)[1]
        texts = [record["text"] if task == "classification" else " ".join(record["tokens"]) for record in records]
        texts = texts[: (options.texts or len(texts)) * options.join]
        texts = [" ".join(texts[place : place + options.join]) for place in range(0, len(texts), options.join)]
        with tempfile.TemporaryDirectory() as folder:
            sides = make_sides(task, options.model or find_encoder(), chosen, folder)
            facts[task] = measure(task, sides, texts, options.rounds)
        print(as_row(task, len(texts), facts[task]), flush=True)
    keep(options.json, facts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
