"""What the default settings are worth: each task on real data, with LoRA and with full fine-tuning beside it.

python benchmarks/quality.py --data FOLDER [--only trec6,stsb] [--methods lora,full] [--json FILE] [--threads N]
python benchmarks/quality.py --data FOLDER --write

FOLDER holds the files that `DATA_SETS` names, such as `classification/trec6/train.jsonl`, and for the generation of
texts two small decoders, `models/tinystories-656k` and `models/stories260k-llama`. The encoder is the MiniLM of
`lightadapt[demo]`. A run takes the first records of a shuffle that is always the same, as many as fit into about six
minutes on one core (SQuAD, GoEmotions: twelve). `seq2seq` needs no data: a small T5 and a small BART, both random,
learn to copy and to reverse.

Each run is appended to the JSON file as it ends, and one that is there is not repeated. `--write` renews the tables of
docs/quality.md from that file alone.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from data_sets import DECODERS, ENCODER, PAIR, DataSet, choose, find_model
from transformers.utils import logging

import lightadapt as la
from lightadapt.tasks import LabelledTask

SEED = 0
BEFORE = "before"
"""Stands for the method where nothing has been trained."""


@dataclass(frozen=True, kw_only=True)
class Work(DataSet):
    """What is measured on one data set."""

    metrics: tuple[str, ...]
    """The figures of the table, the headline first."""
    models: tuple[str, ...] = (ENCODER,)
    methods: tuple[str, ...] = ("lora", "full")

    @property
    def part(self) -> str:
        """Which part of the data the figures are of."""
        return Path(self.test).stem


DATA_SETS = {
    "trec6": Work(
        title="TREC-6",
        task=la.Classification(),
        train="classification/trec6/train.jsonl",
        test="classification/trec6/test.jsonl",
        records=5452,
        tests=500,
        epochs=3,
        metrics=("accuracy",),
    ),
    "sst2": Work(
        title="SST-2",
        task=la.Classification(),
        train="classification/sst2/train.jsonl",
        test="classification/sst2/test.jsonl",
        records=4000,
        tests=1821,
        epochs=3,
        metrics=("accuracy",),
    ),
    "rte": Work(
        title="RTE",
        task=la.Classification(),
        train="pairs/rte/train.jsonl",
        test="pairs/rte/dev.jsonl",
        records=1500,
        tests=277,
        epochs=3,
        metrics=("accuracy",),
    ),
    "copa": Work(
        title="COPA",
        task=la.MultipleChoice(),
        train="multiple_choice/copa/dev.jsonl",
        test="multiple_choice/copa/test.jsonl",
        records=500,
        tests=500,
        epochs=5,
        metrics=("accuracy",),
    ),
    "stsb": Work(
        title="STS-B",
        task=la.Regression(),
        train="pairs/stsb/train.jsonl",
        test="pairs/stsb/test.jsonl",
        records=1500,
        tests=1379,
        epochs=2,
        metrics=("pearson",),
    ),
    "semeval": Work(
        title="SemEval-2010 task 8",
        task=la.Relation(),
        train="relation/semeval2010_task8/train.jsonl",
        test="relation/semeval2010_task8/test.jsonl",
        records=2500,
        tests=2717,
        epochs=3,
        metrics=("macro_f1",),
        balanced=True,
    ),
    "goemotions": Work(
        title="GoEmotions",
        task=la.MultiLabel(),
        train="multilabel/goemotions/train.jsonl",
        test="multilabel/goemotions/test.jsonl",
        records=8000,
        tests=2000,
        epochs=5,
        metrics=("micro_f1",),
    ),
    "e2e": Work(
        title="E2E NLG",
        task=la.Generation(columns=PAIR, max_new_tokens=100),
        train="generation/e2e_nlg/train.jsonl",
        test="generation/e2e_nlg/dev.jsonl",
        records=300,
        tests=100,
        epochs=3,
        metrics=("bleu",),
        models=DECODERS,
        methods=(BEFORE, "lora", "prefix", "bottleneck", "full"),
    ),
    "squad": Work(
        title="SQuAD v1",
        task=la.QA(),
        train="qa/squad_v1/train.jsonl",
        test="qa/squad_v1/dev.jsonl",
        records=3000,
        tests=1000,
        epochs=2,
        metrics=("f1", "exact_match"),
    ),
    "banking77": Work(
        title="Banking77",
        task=la.Classification(),
        train="classification/banking77/train.jsonl",
        test="classification/banking77/test.jsonl",
        records=3080,
        tests=3080,
        epochs=5,
        metrics=("accuracy",),
        balanced=True,
    ),
}

# ---- sequence to sequence: models and data are made here

LETTERS = "abcdefghijklmnopqrst"
FAMILIES = ("T5", "BART")
ORDERS = {"copy": 1, "reverse": -1}
PAIRS, TEST_PAIRS, PAIR_EPOCHS, PAIR_RATE = 6000, 500, 10, 1e-3


def letter_pairs(step: int) -> list[dict[str, str]]:
    """Sequences of 3 to 8 different letters, each with its copy (step 1) or its reverse (step -1)."""
    generator = random.Random(SEED)
    found: dict[str, None] = {}
    while len(found) < PAIRS + TEST_PAIRS:
        found[" ".join(generator.sample(LETTERS, generator.randint(3, 8)))] = None
    return [{"prompt": text, "completion": text[::step]} for text in found]


def save_small_model(family: str, folder: Path) -> None:
    """Write a random encoder-decoder of 1.4 million parameters to a folder, with a tokenizer that reads letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        BartConfig,
        BartForConditionalGeneration,
        PreTrainedTokenizerFast,
        T5Config,
        T5ForConditionalGeneration,
    )

    ids = {token: number for number, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *LETTERS])}
    backend = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>" if family == "T5" else "<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(SEED)
    if family == "T5":
        sizes = {"d_model": 128, "d_kv": 32, "d_ff": 512, "num_layers": 3, "num_heads": 4, "dropout_rate": 0.0}
        numbers = {"pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
        T5ForConditionalGeneration(T5Config(vocab_size=len(ids), **sizes, **numbers)).save_pretrained(folder)
        return
    sides = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in (("layers", 3), ("attention_heads", 4), ("ffn_dim", 512))
    }
    config = BartConfig(vocab_size=len(ids), d_model=128, max_position_embeddings=64, dropout=0.0, **sides)
    BartForConditionalGeneration(config).save_pretrained(folder)


def measure_letters(family: str, order: str) -> dict[str, Any]:
    """The facts of a small encoder-decoder that learns to copy or to reverse."""
    pairs = letter_pairs(ORDERS[order])
    with tempfile.TemporaryDirectory() as folder:
        save_small_model(family, Path(folder))
        adapted = la.adapt(folder, la.Generation(max_new_tokens=12), "full", seed=SEED)
        return learn(adapted, pairs[:PAIRS], pairs[PAIRS:], PAIR_EPOCHS, learning_rate=PAIR_RATE)


# ---- real data


def measure(data_set: Work, folder: Path, model: str, method: str) -> dict[str, Any]:
    """The facts of one run: adapt, train on the training records, evaluate on the others."""
    train, test = (list(data_set.task.read(folder / name)) for name in (data_set.train, data_set.test))
    labels = train if isinstance(data_set.task, LabelledTask) else None  # the records that are chosen may lack a label
    how = "lora" if method == BEFORE else method
    adapted = la.adapt(find_model(model, folder), data_set.task, how, labels=labels, seed=SEED)
    train = choose(train, data_set.records, balanced=data_set.balanced)
    test = choose(test, data_set.tests, balanced=False)
    return learn(adapted, train, test, 0 if method == BEFORE else data_set.epochs)


def learn(
    adapted: la.Adapted,
    train: list[dict[str, Any]],
    test: list[dict[str, Any]],
    epochs: int,
    *,
    learning_rate: float | None = None,
) -> dict[str, Any]:
    """Train and evaluate; what came of it and what it took."""
    start = time.perf_counter()
    same = {name: name for name in adapted.task.columns or ()}  # the records were renamed when they were read
    speed = 0.0
    if epochs:
        history = adapted.fit(
            train, epochs=epochs, learning_rate=learning_rate, args={"disable_tqdm": True}, columns=same
        )
        speed = history.tokens_per_second
    scores = adapted.evaluate(test, columns=same)
    parameters = list(adapted.model.parameters())
    trained = sum(each.numel() for each in parameters if each.requires_grad) if epochs else 0
    return {
        "task": adapted.task.name,
        "scores": {name: round(value, 4) for name, value in scores.items()},
        "train": len(train) if epochs else 0,
        "test": len(test),
        "epochs": epochs,
        "seed": SEED,
        "seconds": round(time.perf_counter() - start, 1),
        "tokens_per_second": round(speed),
        "trained": trained,
        "share": round(trained / sum(each.numel() for each in parameters), 4),
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")}
        | {"lightadapt": la.__version__},
    }


def runs(only: list[str], methods: list[str] | None) -> Iterator[tuple[str, str, str]]:
    """Data set, model and method of every run."""
    for name in only:
        if name == "seq2seq":
            yield from ((order, family, "full") for family in FAMILIES for order in ORDERS)
            continue
        data_set = DATA_SETS[name]
        for model in data_set.models:
            yield from ((name, model, each) for each in data_set.methods if methods is None or each in methods)


# ---- tables


def as_tables(results: list[dict[str, Any]]) -> str:
    """The results as Markdown tables, with the models, seed and versions below."""
    known = {(row["data"], row["model"], row["method"]): row for row in results}
    parts = [encoder_table(known), decoder_table(known), letters_table(known), footnote(results)]
    return "\n\n".join(part for part in parts if part)


def encoder_table(known: dict[tuple[str, str, str], dict[str, Any]]) -> str:
    """LoRA beside full fine-tuning, one line a data set."""
    lines = [
        "| data | task | figure of | train | test | epochs | LoRA | full | difference | minutes, LoRA / full |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, data_set in DATA_SETS.items():
        lora, full = (known.get((name, ENCODER, method)) for method in ("lora", "full"))
        if lora is None:
            continue
        size = f"{lora['train']:,} | {lora['test']:,} ({data_set.part}) | {lora['epochs']}"
        for metric in data_set.metrics:
            a, minutes = points(lora, metric), f"{lora['seconds'] / 60:.1f}"
            rest = "not measured | |"
            if full is not None:
                b = points(full, metric)
                rest, minutes = f"{b:.1f} | {a - b:+.1f} |", f"{minutes} / {full['seconds'] / 60:.1f}"
            what = f"{data_set.title} | {lora['task']} | {metric.replace('_', ' ')} | {size}"
            lines.append(f"| {what} | {a:.1f} | {rest} {minutes} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def points(row: dict[str, Any], metric: str) -> float:
    """A figure from 0 to 100."""
    value: float = row["scores"][metric]
    return value if metric in ("bleu", "chrf") else 100 * value


def decoder_table(known: dict[tuple[str, str, str], dict[str, Any]]) -> str:
    """BLEU of each method with each decoder."""
    data_set = DATA_SETS["e2e"]
    lines = [f"| E2E NLG, BLEU | {' | '.join(data_set.methods)} |", f"|---{'|---' * len(data_set.methods)}|"]
    train = test = epochs = 0
    for model in data_set.models:
        rows = [known.get(("e2e", model, method)) for method in data_set.methods]
        if not any(rows):
            continue
        cells = [f"{points(row, 'bleu'):.1f} ({100 * row['share']:.1f} %)" if row else "" for row in rows]
        lines.append(f"| {model} | {' | '.join(cells)} |")
        train, epochs, test = max((row["train"], row["epochs"], row["test"]) for row in rows if row)
    note = (
        f"In brackets the share of the parameters that is trained. {train} meaning representations with all their "
        f"references, {epochs} epochs; {test} of the development part, decoded greedily."
    )
    return "\n".join([*lines, "", note]) if len(lines) > 2 else ""


def letters_table(known: dict[tuple[str, str, str], dict[str, Any]]) -> str:
    """Exact matches of the small encoder-decoders."""
    lines = [f"| exact match | parameters | {' | '.join(ORDERS)} |", f"|---|---{'|---' * len(ORDERS)}|"]
    for family in FAMILIES:
        rows = [known.get((order, family, "full")) for order in ORDERS]
        found = [row for row in rows if row]
        if found:
            cells = [f"{points(row, 'exact_match'):.1f}" if row else "" for row in rows]
            lines.append(f"| {family}, random | {found[0]['trained']:,} | {' | '.join(cells)} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def footnote(results: list[dict[str, Any]]) -> str:
    """Where the figures come from."""
    if not results:
        return ""
    numbers = {name: sorted({row["versions"][name] for row in results}) for name in results[0]["versions"]}
    versions = ", ".join(f"{name} {' and '.join(found)}" for name, found in numbers.items())
    seeds = ", ".join(sorted({str(row["seed"]) for row in results}))
    threads = ", ".join(sorted({str(row["threads"]) for row in results}))
    return f"Seed {seeds}; threads: {threads}; {versions}."


def write_page(results: list[dict[str, Any]]) -> None:
    """Renew the tables of docs/quality.md, below its first part."""
    page = Path(__file__).parent.parent / "docs" / "quality.md"
    text = page.read_text(encoding="utf-8").partition("<!-- table -->")[0]
    page.write_text(f"{text}<!-- table -->\n\n{as_tables(results)}\n", encoding="utf-8")


def main() -> int:
    """Run what is missing; 1 when the data is not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with classification/, pairs/, qa/ and so on")
    parser.add_argument("--only", default=",".join([*DATA_SETS, "seq2seq"]), help="default: %(default)s")
    parser.add_argument("--methods", help="default: all that the tables show")
    parser.add_argument("--json", type=Path, default=Path("runs/quality.json"))
    parser.add_argument("--threads", type=int, default=1, help="cores to use")
    parser.add_argument("--write", action="store_true", help="renew docs/quality.md from the JSON file alone")
    options = parser.parse_args()
    results = json.loads(options.json.read_text()) if options.json.is_file() else []
    if options.write:
        write_page(results)
        return 0
    only = options.only.split(",")
    unknown = [name for name in only if name not in (*DATA_SETS, "seq2seq")]
    if unknown:
        parser.error(f"--only {unknown[0]}: choose among {', '.join(DATA_SETS)}, seq2seq")
    if only != ["seq2seq"] and not (options.data and (options.data / "classification").is_dir()):
        print(f"skipped: {options.data} does not hold the data sets (see --help)")
        return 1
    every = {each for data_set in DATA_SETS.values() for each in data_set.methods}
    methods = options.methods.split(",") if options.methods else None
    wrong = [each for each in methods or () if each not in every]
    if wrong:
        parser.error(f"--methods {wrong[0]}: choose among {', '.join(sorted(every))}")
    warnings.filterwarnings("ignore")
    logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    done = {(row["data"], row["model"], row["method"]) for row in results}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    for name, model, method in runs(only, methods):
        if (name, model, method) in done:
            continue
        facts = (
            measure(DATA_SETS[name], options.data, model, method) if name in DATA_SETS else measure_letters(model, name)
        )
        results.append({"data": name, "model": model, "method": method, **facts})
        options.json.write_text(json.dumps(results, indent=1))
        print(name, model, method, facts["scores"], f"{facts['seconds']:.0f} s", flush=True)
    print(as_tables(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
