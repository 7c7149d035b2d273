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
import json
import re
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from data_sets import ENCODER, PAIR, DataSet, choose, find_model
from measuring import resident, run_apart, start_peak, stepper
from transformers import LlamaConfig
from transformers.utils import logging

import lightadapt as la
from lightadapt.base.memory import as_size
from lightadapt.base.quantization import Quantization
from lightadapt.tasks import LabelledTask, Task

FORMATS = ("float32", "bfloat16", "8bit", "4bit")
METHODS = ("lora", "bottleneck")
TRANSFERRED = ("float32", "8bit", "4bit")
CHILD = "--run"
TOKENS, LENGTH = 2048, 128
"""Of a step whose memory is measured, and of a text in it."""
PAGE = Path(__file__).parents[1] / "docs" / "quantization.md"
LLAMA_8B = LlamaConfig(
    vocab_size=128256,
    hidden_size=4096,
    intermediate_size=14336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
    max_position_embeddings=8192,
    tie_word_embeddings=False,
)


@dataclass(frozen=True, kw_only=True)
class Work(DataSet):
    """What is learned and tested, by which model."""

    model: str
    metric: str


E2E: dict[str, Any] = {
    "task": la.Generation(columns=PAIR, max_new_tokens=100),
    "train": "generation/e2e_nlg/train.jsonl",
    "test": "generation/e2e_nlg/dev.jsonl",
    "records": 300,
    "tests": 100,
    "epochs": 3,
    "metric": "bleu",
}
WORK = {
    "conll": Work(
        title="CoNLL-2003, F1",
        model=ENCODER,
        task=la.NER(),
        train="ner/conll2003/train.conll",
        test="ner/conll2003/dev.conll",
        records=1000,
        tests=1000,
        epochs=3,
        metric="f1",
    ),
    "banking77": Work(
        title="Banking77, accuracy",
        model=ENCODER,
        task=la.Classification(),
        train="classification/banking77/train.jsonl",
        test="classification/banking77/test.jsonl",
        records=1540,
        tests=1000,
        epochs=4,
        metric="accuracy",
        balanced=True,
    ),
    "tinystories": Work(title="E2E NLG, BLEU", model="tinystories-656k", **E2E),
    "stories": Work(title="E2E NLG, BLEU", model="stories260k-llama", **E2E),
}


# ---- scores


def measure_score(name: str, number_format: str, method: str, data: Path) -> dict[str, Any]:
    """What a run on one data set comes to."""
    work = WORK[name]
    train, test = (list(work.task.read(data / file)) for file in (work.train, work.test))
    labels = train if isinstance(work.task, LabelledTask) else None
    train = choose(train, work.records, balanced=work.balanced)
    test = choose(test, work.tests, balanced=False)
    same = {column: column for column in work.task.columns or ()}  # the records were renamed when they were read
    adapted = la.adapt(find_model(work.model, data), work.task, method, labels=labels, **as_options(number_format))
    history = adapted.fit(train, epochs=work.epochs, columns=same, args={"disable_tqdm": True})
    scores = adapted.evaluate(test, columns=same)
    return {
        "scores": {each: round(value, 4) for each, value in scores.items()},
        "train": len(train),
        "test": len(test),
        "epochs": work.epochs,
        "seconds": round(history.seconds, 1),
    }


def measure_transfer(data: Path) -> dict[str, float]:
    """The scores of LoRA on Banking77, by the format that it was trained on and the one that it is loaded on."""
    work = WORK["banking77"]
    records, tests = (list(work.task.read(data / file)) for file in (work.train, work.test))
    train, test = choose(records, work.records, balanced=True), choose(tests, work.tests, balanced=False)
    scores = {}
    for trained in TRANSFERRED:
        adapted = la.adapt(find_model(ENCODER, data), work.task, labels=records, **as_options(trained))
        adapted.fit(train, epochs=work.epochs, args={"disable_tqdm": True})
        with tempfile.TemporaryDirectory() as folder:
            adapted.save(folder)
            for loaded in TRANSFERRED:
                options = as_options(loaded) | {"quantize": as_options(loaded)["quantize"] or "none"}
                again = la.load(folder, **options)
                scores[f"{trained},{loaded}"] = round(again.evaluate(test)[work.metric], 4)
                print(trained, loaded, scores[f"{trained},{loaded}"], flush=True)
    return scores


def as_options(number_format: str) -> dict[str, Any]:
    """The arguments of `adapt` for a number format; what is not quantized is in float32."""
    quantize = number_format if number_format.endswith("bit") else None
    return {"quantize": quantize, "dtype": "float32" if quantize else number_format, "device": "cpu"}


# ---- memory


def measure_memory(name: str, number_format: str, method: str, data: Path) -> dict[str, Any]:
    """The peak of a few training steps in this process, and what `inspect` expects it to be."""
    work = WORK[name]
    model, task = find_model(work.model, data), work.task
    labels = [str(number) for number in range(9)] if isinstance(task, LabelledTask) else None

    def prepare(tokens: int) -> Callable[[], float]:
        adapted = la.adapt(model, task, method, labels=labels, **as_options(number_format))
        batch = make_batch(adapted.model, adapted.task, tokens)
        return stepper(adapted.model, batch, adapted.task.objective([], adapted.runner.view))  # as `fit` has it

    prepare(256)()  # what libraries allocate once, at their first step, is none of the model's
    before = start_peak()
    step = prepare(TOKENS)
    start_peak()
    for _ in range(3):
        step()
    peak = resident("VmHWM") - before
    expected = la.inspect(model, task=work.task, method=method, batch_tokens=TOKENS, **as_options(number_format)).memory
    assert expected is not None
    return {
        "base": dict(expected.base),
        "peak": peak,
        "estimate": expected.peak,
        "parts": {"weights": expected.weights, "optimizer": expected.optimizer, "step": expected.step},
    }


# ---- speed


def measure_speed(rounds: int) -> dict[str, float]:
    """Milliseconds of a training step, the median of steps that the formats take in turn, by method and format."""
    steps = {}
    for method in METHODS:
        for each in FORMATS:
            adapted = la.adapt(
                find_model(ENCODER, Path()), "classification", method, labels=["a", "b"], **as_options(each)
            )
            steps[f"{method} {each}"] = stepper(adapted.model, make_batch(adapted.model, adapted.task, 512))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name, step in steps.items():
            seconds = step()
            if number:
                times[name].append(1000 * seconds)
    return {name: round(statistics.median(values), 1) for name, values in times.items()}


def make_batch(model: Any, task: Task, tokens: int) -> dict[str, torch.Tensor]:
    """Random texts of 128 tokens with labels, as many as make so many tokens."""
    ids = torch.randint(5, model.config.vocab_size, (tokens // LENGTH, LENGTH))
    mask = torch.ones_like(ids)
    mask[-1, -1] = 0  # a batch has padding
    zeros = torch.zeros(len(ids), dtype=torch.long)
    labels = {"classification": zeros, "ner": torch.zeros_like(ids), "generation": ids}
    return {"input_ids": ids, "attention_mask": mask, "labels": labels[task.name]}


# ---- a large model, counted


def count_llama() -> list[dict[str, Any]]:
    """The bytes of a LLaMA of 8 billion parameters by format, and the peak of training it on a GPU with LoRA."""
    rows = []
    for each in ("bfloat16", "8bit", "4bit"):
        quantize = each if each.endswith("bit") else None
        found = la.inspect(
            LLAMA_8B,
            task="generation",
            method="lora",
            quantize=quantize,
            dtype="bfloat16",
            device="cuda",
            batch_tokens=TOKENS,
        )
        assert found.memory is not None
        anatomy = found.anatomy
        block = {path: anatomy.linears[path] for path in anatomy.blocks[0].linears}
        values = sum(first * second for first, second in block.values())
        packed = (
            sum(Quantization.named(each).packed_size((b, a)) for a, b in block.values()) if quantize else 2 * values
        )
        rows.append(
            {
                "format": each,
                "block_values": values,
                "block_bytes": packed,
                "base": sum(found.memory.base.values()),
                "peak": found.memory.peak,
            }
        )
    return rows


# ---- tables


def score_table(results: dict[str, Any]) -> list[str]:
    """A line for each data set, model and method; the formats beside each other."""
    formats = [each for each in FORMATS if any(f",{each}," in key for key in results)]
    lines = [f"| score | model | method | {' | '.join(formats)} | train | test | epochs |"]
    lines.append("|---" * (6 + len(formats)) + "|")
    for name, work in WORK.items():
        for method in METHODS:
            rows = [results.get(f"{name},{each},{method}") for each in formats]
            some = next((row for row in rows if row), None)
            if some is None:
                continue
            cells = [f"{points(row, work.metric):.1f}" if row else "–" for row in rows]
            size = f"{some['train']:,} | {some['test']:,} | {some['epochs']}"
            lines.append(f"| {work.title} | {work.model} | {method} | {' | '.join(cells)} | {size} |")
    return lines


def points(row: dict[str, Any], metric: str) -> float:
    """A figure from 0 to 100."""
    value: float = row["scores"][metric]
    return value if metric == "bleu" else 100 * value


def transfer_table(results: dict[str, float]) -> list[str]:
    """A line for each format that was trained on; those that it was loaded on beside each other."""
    lines = [f"| trained on | loaded on {' | '.join(TRANSFERRED)} |", "|---" * (1 + len(TRANSFERRED)) + "|"]
    for trained in TRANSFERRED:
        cells = [f"{100 * results[f'{trained},{loaded}']:.1f}" for loaded in TRANSFERRED]
        lines.append(f"| {trained} | {' | '.join(cells)} |")
    return lines


def memory_table(results: dict[str, Any]) -> list[str]:
    """The base, and the peak as it was measured and estimated."""
    lines = ["| model | method | format | base | peak, measured | estimated | ratio |", "|---" * 7 + "|"]
    for key, row in results.items():
        name, each, method = key.split(",")
        base = " + ".join(f"{as_size(size)} {kind}" for kind, size in row["base"].items())
        ratio = f"{row['estimate'] / row['peak']:.2f}"
        peaks = f"{as_size(row['peak'])} | {as_size(row['estimate'])} | {ratio}"
        lines.append(f"| {WORK[name].model} | {method} | {each} | {base} | {peaks} |")
    return lines


def speed_table(results: dict[str, float]) -> list[str]:
    """Steps in milliseconds, and how many times those in float32 they take."""
    lines = [f"| ms a step (× float32) | {' | '.join(FORMATS)} |", "|---" * (1 + len(FORMATS)) + "|"]
    for method in METHODS:
        plain = results[f"{method} float32"]
        cells = [f"{results[f'{method} {each}']:,.0f} ({results[f'{method} {each}'] / plain:.2f})" for each in FORMATS]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def llama_table(rows: list[dict[str, Any]]) -> list[str]:
    """The bytes of a block and of the whole."""
    lines = ["| format | a block's projections | bits a value | the whole base | peak with LoRA |", "|---" * 5 + "|"]
    for row in rows:
        bits = f"{8 * row['block_bytes'] / row['block_values']:.3f}"
        cells = [row["format"], as_size(row["block_bytes"]), bits, as_size(row["base"]), as_size(row["peak"])]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def write_page(results: dict[str, Any]) -> None:
    """Renew what stands below the marks of docs/quantization.md."""
    text = PAGE.read_text(encoding="utf-8")
    tables = {
        "scores": score_table,
        "transfer": transfer_table,
        "memory": memory_table,
        "speed": speed_table,
        "llama": llama_table,
    }
    for name, as_table in tables.items():
        if name in results:
            table = "\n".join(as_table(results[name]))
            mark, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
            text = re.sub(f"{mark}.*?{end}", lambda _, new=f"{mark}\n\n{table}\n\n{end}": new, text, flags=re.DOTALL)
    PAGE.write_text(text, encoding="utf-8")


def main() -> int:
    """Run what is missing; 1 when the data is not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("scores", "transfer", "memory", "speed", "llama", "write"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", default=",".join(WORK), help="default: %(default)s")
    parser.add_argument("--formats", help=f"of {', '.join(FORMATS)}")
    parser.add_argument("--methods", default=",".join(METHODS), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each kind that are timed")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("runs/quantization.json"))
    parser.add_argument(CHILD, dest="child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    if options.child:
        print(json.dumps(measure_memory(*options.child.split(","), options.data)))
        return 0
    results = json.loads(options.json.read_text()) if options.json.is_file() else {}
    if options.what == "write":
        write_page(results)
        return 0
    if options.what == "speed":
        results["speed"] = measure_speed(options.rounds)
    elif options.what == "llama":
        results["llama"] = count_llama()
    elif not (options.data and (options.data / "models").is_dir()):
        print(f"skipped: {options.data} does not hold the data sets and models (see --help)")
        return 1
    elif options.what == "transfer":
        results["transfer"] = measure_transfer(options.data)
    else:
        run_missing(options, results)
        return 0
    keep(results, options.json)
    print(json.dumps(results[options.what], indent=1))
    return 0


def run_missing(options: argparse.Namespace, results: dict[str, Any]) -> None:
    """Run every kind of `scores` or `memory` that is not in the results, which are kept as they come."""
    computes_half = torch.cpu._is_avx512_bf16_supported()
    usual = [each for each in FORMATS if each != "bfloat16" or computes_half or options.what == "memory"]
    formats = options.formats.split(",") if options.formats else usual
    found = results.setdefault(options.what, {})
    for name in options.only.split(","):
        for each in formats:
            for method in options.methods.split(","):
                kind = (name, each, method)
                if ",".join(kind) in found:
                    continue
                if options.what == "memory":
                    same = ["memory", "--data", str(options.data), "--threads", str(options.threads)]
                    facts = run_apart(*same, CHILD, ",".join(kind))
                else:
                    facts = measure_score(*kind, options.data)
                found[",".join(kind)] = facts
                keep(results, options.json)
                print(*kind, facts, flush=True)


def keep(results: dict[str, Any], file: Path) -> None:
    """Write the results, with what they were made with."""
    file.parent.mkdir(parents=True, exist_ok=True)
    results["versions"] = {name: version(name) for name in ("torch", "transformers", "peft", "bitsandbytes")}
    file.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    sys.exit(main())
