"""What 4 and 8 bits cost and save: score, bytes, peak memory and speed, beside the same on plain weights.

    python benchmarks/quantization.py scores --data FOLDER [--only conll,banking77] [--formats float32,4bit]
    python benchmarks/quantization.py transfer --data FOLDER
    python benchmarks/quantization.py memory --data FOLDER
    python benchmarks/quantization.py speed
    python benchmarks/quantization.py llama
    python benchmarks/quantization.py write

`scores` trains and tests what `WORK` names: FOLDER holds its files, and two small decoders in `models/`. The encoder is
the MiniLM of `lightadapt[demo]`. `transfer` trains LoRA on one format and scores it on each. `memory` takes the peak of
resident memory of three training steps, each kind in a process of its own, over what was resident before the model was
loaded (Linux only), and puts the estimate of `la.inspect` beside it. `speed` times training steps of MiniLM, the
formats in turn, step by step. `llama` counts a LLaMA of 8 billion parameters that is never built. Each result is kept
in runs/quantization.json as it ends, and one that is there is not repeated; `write` renews the tables of
docs/quantization.md from that file.

A processor without instructions for bfloat16 computes it many times slower than float32. There bfloat16 is left out of
`scores` unless it is named in `--formats`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from command import command, lacks, names_of, renew, run_missing, set_up
from data_sets import DATA_SETS, DECODERS, ENCODER, Work, find_model, learn
from quantized_costs import LLAMA_FORMATS, as_options, count_llama, measure_memory, measure_speed
from quantized_tables import TABLES

import lightadapt as la
from lightadapt.experiments.apart import STEADY, call_apart
from lightadapt.experiments.kept import Kept
from lightadapt.experiments.machine import versions

FORMATS = ("float32", "bfloat16", "8bit", "4bit")
METHODS = ("lora", "bottleneck")
TRANSFERRED = ("float32", "8bit", "4bit")
WORK = {
    "conll": Work(DATA_SETS["conll"], 1000, 1000, 3),
    "banking77": Work(DATA_SETS["banking77"], 1540, 1000, 4),
    "tinystories": Work(DATA_SETS["e2e"], 300, 100, 3, models=DECODERS[:1]),
    "stories": Work(DATA_SETS["e2e"], 300, 100, 3, models=DECODERS[1:]),
}
METRICS = {"f1": "F1", "bleu": "BLEU", "accuracy": "accuracy"}
"""As people write them."""
Row = dict[str, Any]


def measure_score(name: str, number_format: str, method: str, data: Path) -> Row:
    """What a run on one data set comes to."""
    work = WORK[name]
    (model,), (task, train, test) = work.models, work.read(data)
    adapted = la.adapt(find_model(model, data), task, method, **as_options(number_format))
    metric = work.data.metrics[0]
    known = {"title": f"{work.data.title}, {METRICS[metric]}", "model": model, "metric": metric}
    return {**known, **learn(adapted, train, test, work.epochs)}


def measure_transfer(trained: str, data: Path) -> Row:
    """The scores of LoRA on Banking77 when it was trained on this format, by the one that it is loaded on."""
    work = WORK["banking77"]
    task, train, test = work.read(data)
    adapted = la.adapt(find_model(ENCODER, data), task, **as_options(trained))
    adapted.fit(train, epochs=work.epochs, args={"disable_tqdm": True})
    scores = {}
    with tempfile.TemporaryDirectory() as folder:
        adapted.save(folder)
        for loaded in TRANSFERRED:
            options = as_options(loaded)
            again = la.load(folder, **{**options, "quantize": options["quantize"] or "none"})
            scores[loaded] = round(again.evaluate(test)["accuracy"], 4)
    return {"scores": scores}


def measure(what: str, name: str, number_format: str, method: str, *, options: argparse.Namespace) -> Row:
    """One result, with the versions of what computed it."""
    if what == "scores":
        found = measure_score(name, number_format, method, options.data)
    elif what == "transfer":
        found = measure_transfer(number_format, options.data)
    elif what == "llama":
        found = count_llama(number_format)
    else:
        (model,), task = WORK[name].models, WORK[name].data.task.name
        job = {"model": find_model(model, options.data), "task": task, "method": method, "number_format": number_format}
        found = call_apart(measure_memory, job, threads=options.threads, environment=STEADY)
        found["model"] = model
    return {**found, "versions": versions("bitsandbytes")}


def kinds(what: str, only: list[str], formats: list[str], methods: list[str]) -> Iterator[tuple[str, ...]]:
    """Kind, data, format and method of every result."""
    if what == "transfer":
        return product([what], ["banking77"], TRANSFERRED, ["lora"])
    if what == "llama":
        return product([what], ["llama"], LLAMA_FORMATS, ["lora"])
    return product([what], only, formats, methods)


def usual_formats(what: str) -> list[str]:
    """All, but to train in bfloat16 takes a processor that computes it."""
    slow = what == "scores" and not torch.cpu._is_avx512_bf16_supported()
    return [each for each in FORMATS if each != "bfloat16" or not slow]


def main() -> int:
    """Run what is missing; 1 when the data is not there."""
    names = {"only": ",".join(WORK), "methods": ",".join(METHODS)}
    parser = command(__doc__, data=None, **names, rounds=5, threads=1, json=Path("runs/quantization.json"))
    parser.add_argument("what", choices=(*TABLES, "write"))
    parser.add_argument("--formats", help=f"of {', '.join(FORMATS)}")
    options = parser.parse_args()
    what, kept = options.what, Kept(options.json, by=("what", "data", "format", "method"))
    if what == "write":
        for name, as_table in TABLES.items():
            rows = [row for row in kept.rows if row["what"] == name]
            if rows:
                renew("quantization.md", name, as_table(rows))
        return 0
    formats = names_of(parser, options.formats, FORMATS) if options.formats else usual_formats(what)
    only, methods = names_of(parser, options.only, WORK), names_of(parser, options.methods, METHODS)
    needed = [file for name in only for file in WORK[name].data.files] if what != "transfer" else []
    needed += list(WORK["banking77"].data.files) if what == "transfer" else []
    if what not in ("speed", "llama") and lacks(options.data, needed):
        return 1
    set_up(options.threads)
    if what == "speed":
        for (method, number_format), milliseconds in measure_speed(methods, formats, options.rounds).items():
            known = {"what": what, "data": "random", "format": number_format, "method": method}
            kept.add({**known, "milliseconds": milliseconds, "versions": versions("bitsandbytes")})
            print(method, number_format, milliseconds)
        return 0
    run_missing(kept, kinds(what, only, formats, methods), partial(measure, options=options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
