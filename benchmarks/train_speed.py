"""How fast lightadapt trains, against the guides of PEFT, transformers and AdapterHub on the same records and model.

python benchmarks/train_speed.py --task ner --data FOLDER [--python PYTHON] [--cache] [--json FILE] [--plot FILE.png]
python benchmarks/train_speed.py --task generation

FOLDER holds the data sets that `TASKS` names, such as `ner/conll2003/train.conll`; the encoder is the MiniLM of
`lightadapt[demo]`. Every run is a process of its own, and the sides take turns:

- `guide`, `tuned` and, with `--python` (the interpreter of an environment that has AdapterHub's `adapters`),
  `adapterhub`: see benchmarks/recipes;
- `lightadapt`: `adapt(…, method="lora")` and `fit` with their defaults, and as many epochs as the others;
- with `--cache` also `last:2`, where the two upper blocks alone are adapted, and `cached`, where moreover the outputs
  of the blocks below are kept from epoch to epoch.

The table has medians over the rounds: real tokens (no padding) a second of training, and a second of the whole run with
its set-up (model, tokenization, trials); real tokens a second of the CPU, which say more where other programs run; the
share of padding; mean and standard deviation of the score on the test records (entity F1, accuracy, SQuAD F1; for
generation the last loss); seconds of training, and those until the score with which `guide` ends; and the peak of
resident memory over what was resident before the model was built (Linux; on a GPU what was allocated). Evaluating is
in none of the times. `--steady` makes the peak exact, and all sides up to twice as slow.

Round n has seed n modulo `--seeds`. The work of `generation` needs no data: a decoder like GPT-2 with random weights,
narrow but with the vocabulary of 50,257 tokens, and prompts three times as long as their completions, which alone are
learned. There both sides train LoRA of rank 8 on all projections, in float32, on batches of 16 records.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from command import command, keep, lacks, names_of, set_up
from data_sets import DATA_SETS, DataSet, choose, find_encoder
from measuring import has_bf16, matrix_rate
from recipes import guides, ours
from recipes.recipe import ROWS, Work
from speed_tables import Run, as_table, describe_cache, describe_rate, draw, footnote, summarize
from transformers import AutoConfig, GPT2Config, GPT2LMHeadModel
from words import save_word_tokenizer

from lightadapt.data.spans import read_tags
from lightadapt.experiments.apart import STEADY, call_apart
from lightadapt.metrics import classification_scores, entity_scores, question_scores

OURS = ("lightadapt", "last:2", "cached")
VOCABULARY, PROMPT, COMPLETION = 50257, 96, 32
LOGGED = {"disable_tqdm": True, "logging_steps": 1}


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is learned and how much of it; as many records as the slowest side learns in three minutes on a core."""

    figure: str
    """Name of the score."""
    data: DataSet | None = None
    """None: texts of random words."""
    records: int
    tests: int = 0
    epochs: int
    points: int
    """How often the score is computed in training, for the curve."""
    sides: tuple[str, ...] = ("guide", "tuned", "adapterhub", "lightadapt")
    fit: dict[str, Any] = field(default_factory=dict)
    """Arguments of `fit` beside the defaults."""


TASKS = {
    "ner": Task(figure="entity F1", data=DATA_SETS["conll"], records=1500, tests=400, epochs=2, points=8),
    "classification": Task(figure="accuracy", data=DATA_SETS["banking77"], records=1540, tests=400, epochs=3, points=6),
    "qa": Task(figure="F1", data=DATA_SETS["squad"], records=300, tests=100, epochs=1, points=4),
    "generation": Task(
        figure="loss",
        records=64,
        epochs=1,
        points=0,
        sides=("guide", "lightadapt"),
        fit={"batch_tokens": ROWS * (PROMPT + COMPLETION), "learning_rate": 1e-3, "args": LOGGED},
    ),
}


def make_model(folder: str) -> None:
    """Write the decoder, with a tokenizer of as many words, to a folder."""
    end = VOCABULARY - 1
    save_word_tokenizer(
        folder, {f"w{number}": number for number in range(end)} | {"<end>": end}, unknown="w0", end="<end>", pad="<end>"
    )
    torch.manual_seed(0)
    sizes = {"n_positions": 256, "n_embd": 256, "n_layer": 4, "n_head": 8, "bos_token_id": end, "eos_token_id": end}
    dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, **sizes, **dropout)).save_pretrained(folder)


def make_records(count: int) -> list[dict[str, str]]:
    """Prompts and completions of random words."""
    draw = random.Random(0)

    def text(length: int) -> str:
        return " ".join(f"w{draw.randrange(2000)}" for _ in range(length))

    return [{"prompt": text(PROMPT), "completion": text(COMPLETION - 1)} for _ in range(count)]


def read_work(name: str, data: Path, records: int, tests: int) -> Work:
    """Training and test records, and the labels as the guides name them."""
    source = TASKS[name].data
    assert source is not None
    every, test = source.read(data)
    labels: list[str] = []
    if name == "ner":
        types = sorted({tag[2:] for record in every for tag in record["tags"] if tag != "O"})
        labels = bio_labels(types)
    if name == "classification":
        labels = sorted({record["label"] for record in every})
    parts = {"train": (every, records), "test": (test, tests)}
    chosen = {part: choose(all_of, count, balanced=source.balanced) for part, (all_of, count) in parts.items()}
    if name == "qa":
        chosen = {part: list(map(as_row, questions)) for part, questions in chosen.items()}
    return {**chosen, "labels": labels}


def bio_labels(types: Iterable[str]) -> list[str]:
    """The tags of entity types as the guides name them."""
    return ["O", *(f"{prefix}-{each}" for each in types for prefix in "BI")]


def as_row(question: Run) -> Run:
    """The question as a row of the `squad` data set, whose answers are a dict of lists; in the files each is a dict."""
    answers = {key: [answer[key] for answer in question["answers"]] for key in ("text", "answer_start")}
    return {**question, "answers": answers}


# ---- runs


def run_side(side: str, work: Work, options: argparse.Namespace) -> Run:
    """The facts of one run of a side; of the predictions along the way only their scores are kept."""
    upper = side in ("last:2", "cached")
    fit = {**work["fit"], "cache": side == "cached", "args": LOGGED} if upper else work["fit"]
    work = {**work, "side": side, "fit": fit, "layers": "last:2" if upper else None}
    found = call_apart(
        ours.run if side in OURS else guides.run,
        {"work": work},
        threads=options.threads,
        environment={**(STEADY if options.steady else {}), "TOKENIZERS_PARALLELISM": "false"},
        python=options.python if side == "adapterhub" else sys.executable,
    )
    found["curve"] = [(seconds, score(work, guesses)) for seconds, _, guesses in found["curve"]]
    found["score"] = found["curve"][-1][1] if found["curve"] else found["losses"][-1][1] if found["losses"] else None
    return {"side": side, "seed": work["seed"], **found}


def score(work: Work, predictions: list[Any]) -> float:
    """The headline metric, the same for all sides."""
    test = work["test"]
    if work["task"] == "ner":
        gold = [read_tags(record["tags"]) for record in test]
        return entity_scores(gold, [read_tags(tags) for tags in predictions])[0]["f1"]
    if work["task"] == "classification":
        return classification_scores([record["label"] for record in test], predictions)[0]["accuracy"]
    return question_scores([record["answers"]["text"] for record in test], predictions)["f1"]


def measure_rates(work: Work) -> dict[str, float]:
    """The matrix rates of the machine at the size of the model, in the formats that it computes."""
    width = AutoConfig.from_pretrained(work["model"]).hidden_size
    formats = {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if work["bf16"] else {})
    return {name: matrix_rate(512, width, dtype=dtype, device=work["device"]) for name, dtype in formats.items()}


# ---- command line


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    """The options, checked."""
    parser = command(__doc__, data=None, model=None, rounds=3, threads=1, json=None)
    parser.add_argument("--task", choices=list(TASKS), default="generation")
    parser.add_argument("--records", type=int, help="to train on; default: about three minutes of the slowest side")
    parser.add_argument("--tests", type=int, help="to score on")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--points", type=int, help="how often to score in training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--sides", help="only these, such as guide,lightadapt")
    parser.add_argument("--python", default="", help="interpreter of an environment with AdapterHub's adapters")
    parser.add_argument("--cache", action="store_true", help="also the two upper blocks, with and without a cache")
    parser.add_argument("--steady", action="store_true", help="exact peaks of memory, at the cost of speed")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args(arguments)
    task = TASKS[options.task]
    for name in ("records", "tests", "epochs", "points"):
        setattr(options, name, getattr(task, name) if getattr(options, name) is None else getattr(options, name))
    if options.cache and (options.epochs < 2 or not task.data):
        parser.error("--cache compares from the second epoch on, with an encoder: --task ner --epochs 3")
    if options.plot and not task.data:
        parser.error("--plot draws scores, which generation has not")
    known = [side for side in task.sides if side != "adapterhub" or options.python]
    known += ["last:2", "cached"] if options.cache else []
    options.sides = names_of(parser, options.sides, known) if options.sides else known
    return options


def make_work(options: argparse.Namespace, folder: str) -> Work:
    """All that the sides have in common."""
    task = TASKS[options.task]
    if task.data is None:
        make_model(folder)
        work = {"train": make_records(options.records), "test": [], "labels": [], "model": folder}
    else:
        work = read_work(options.task, options.data, options.records, options.tests)
        work["model"] = options.model or find_encoder()
    same = {name: getattr(options, name) for name in ("task", "epochs", "points", "device")}
    return {**work, **same, "fit": task.fit, "bf16": has_bf16(options.device) and task.data is not None}


def main(arguments: list[str] | None = None) -> int:
    """Run the sides in turn and print the tables; 1 when the data is not there."""
    options = read_options(arguments)
    task = TASKS[options.task]
    if task.data and lacks(options.data, task.data.files):
        return 1
    set_up(options.threads)
    settings = {name: getattr(options, name) for name in ("task", "records", "tests", "epochs", "rounds", "seeds")}
    runs: list[Run] = []
    rates: dict[str, float] = {}
    facts = {"matrix_rates": rates, "settings": settings, "runs": runs}  # both grow
    with tempfile.TemporaryDirectory() as folder:
        work = make_work(options, folder)
        for number in range(options.rounds):
            for side in options.sides:
                runs.append(run_side(side, {**work, "seed": number % options.seeds}, options))
                keep(options.json, facts, device=options.device)
            rates |= {name: max(rate, rates.get(name, 0.0)) for name, rate in measure_rates(work).items()}
        keep(options.json, facts, device=options.device)
        found = summarize(runs)
        print(as_table(task.figure, found, rising=task.data is not None))
        print(footnote(options, bf16=work["bf16"]))
        if "lightadapt" in found and task.data:
            print("\n" + describe_rate(found["lightadapt"], work, rates))
        if {*OURS} <= {*found}:
            print("\n" + describe_cache(runs, OURS))
    if options.plot and task.data:
        draw(f"{task.data.folder.rpartition('/')[2]}: {task.figure}", task.figure, runs, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
