"""How fast lightadapt trains, against the guides of PEFT, transformers and AdapterHub on the same records and model.

python benchmarks/train_speed.py --task ner --data FOLDER [--python PYTHON] [--cache] [--json FILE] [--plot FILE.png]
python benchmarks/train_speed.py --task generation

FOLDER holds the files that `TASKS` names, such as `ner/conll2003/train.conll`; the encoder is the MiniLM of
`lightadapt[demo]`. Every run is a process of its own, and the sides take turns:

- `guide`, `tuned` and, with `--python` (the interpreter of an environment that has AdapterHub's `adapters`),
  `adapterhub`: see benchmarks/recipes.py;
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
import json
import random
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from data_sets import choose
from measuring import describe_machine, find_encoder, has_bf16, matrix_rate, quiet, run_file, work_parameters
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

import lightadapt as la
from lightadapt.data.spans import read_tags
from lightadapt.metrics import classification_scores, entity_scores, question_scores

HERE = Path(__file__).parent
OTHERS = ("guide", "tuned", "adapterhub")
OURS = ("lightadapt", "last:2", "cached")
VOCABULARY, PROMPT, COMPLETION, ROWS = 50257, 96, 32, 16
Run = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is learned and how much of it; as many records as the slowest side learns in three minutes on a core."""

    figure: str
    """Name of the score."""
    train: str = ""
    """File, relative to the data folder."""
    test: str = ""
    records: int
    tests: int = 0
    epochs: int
    points: int
    """How often the score is computed in training, for the curve."""
    sides: tuple[str, ...] = ("guide", "tuned", "adapterhub", "lightadapt")
    fit: dict[str, Any] = field(default_factory=dict)
    """Arguments of `fit` beside the defaults."""
    rising: bool = True
    """Whether a higher score is better."""


TASKS = {
    "ner": Task(
        figure="entity F1",
        train="ner/conll2003/train.conll",
        test="ner/conll2003/dev.conll",
        records=1500,
        tests=400,
        epochs=2,
        points=8,
    ),
    "classification": Task(
        figure="accuracy",
        train="classification/banking77/train.jsonl",
        test="classification/banking77/test.jsonl",
        records=1540,
        tests=400,
        epochs=3,
        points=6,
    ),
    "qa": Task(
        figure="F1",
        train="qa/squad_v1/train.jsonl",
        test="qa/squad_v1/dev.jsonl",
        records=300,
        tests=100,
        epochs=1,
        points=4,
    ),
    "generation": Task(
        figure="loss",
        records=64,
        epochs=1,
        points=0,
        sides=("guide", "lightadapt"),
        fit={
            "batch_tokens": ROWS * (PROMPT + COMPLETION),
            "learning_rate": 1e-3,
            "args": {"disable_tqdm": True, "logging_steps": 1},
        },
        rising=False,
    ),
}

# ---- records and models


def make_model(folder: str) -> None:
    """Write the decoder, with a tokenizer of as many words, to a folder."""
    words = {f"w{number}": number for number in range(VOCABULARY - 1)} | {"<end>": VOCABULARY - 1}
    core = Tokenizer(models.WordLevel(words, unk_token="w0"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", pad_token="<end>").save_pretrained(folder)
    torch.manual_seed(0)
    end = {"bos_token_id": VOCABULARY - 1, "eos_token_id": VOCABULARY - 1}
    config = GPT2Config(vocab_size=VOCABULARY, n_positions=256, n_embd=256, n_layer=4, n_head=8, **end)
    for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop"):
        setattr(config, name, 0.0)
    GPT2LMHeadModel(config).save_pretrained(folder)


def make_records(count: int) -> list[dict[str, str]]:
    """Prompts and completions of random words."""
    draw = random.Random(0)

    def text(length: int) -> str:
        return " ".join(f"w{draw.randrange(2000)}" for _ in range(length))

    return [{"prompt": text(PROMPT), "completion": text(COMPLETION - 1)} for _ in range(count)]


def read_work(name: str, data: Path, records: int, tests: int) -> dict[str, Any]:
    """Training and test records, and the labels as the guides name them."""
    task = TASKS[name]
    kind = {"ner": la.NER, "classification": la.Classification, "qa": la.QA}[name]()
    every, test = (list(kind.read(data / file)) for file in (task.train, task.test))
    labels: list[str] = []
    if name == "ner":
        types = sorted({tag[2:] for record in every for tag in record["tags"] if tag != "O"})
        labels = ["O", *(f"{prefix}-{each}" for each in types for prefix in "BI")]
    if name == "classification":
        labels = sorted({record["label"] for record in every})
    balanced = name == "classification"
    chosen = {"train": choose(every, records, balanced=balanced), "test": choose(test, tests, balanced=balanced)}
    if name == "qa":
        chosen = {part: list(map(as_row, questions)) for part, questions in chosen.items()}
    return {**chosen, "labels": labels}


def as_row(question: Run) -> Run:
    """The question as a row of the `squad` data set, whose answers are a dict of lists; in the files each is a dict."""
    answers = {key: [answer[key] for answer in question["answers"]] for key in ("text", "answer_start")}
    return {**question, "answers": answers}


# ---- runs


def sides_of(task: Task, *, other_python: bool, cache: bool) -> list[str]:
    """The sides that can run here."""
    sides = [side for side in task.sides if side != "adapterhub" or other_python]
    return [*sides, "last:2", "cached"] if cache else sides


def run_side(side: str, work: dict[str, Any], *, python: str, steady: bool) -> Run:
    """The facts of one run of a side; of the predictions along the way only their scores are kept."""
    ours, fit = side in OURS, dict(work["fit"])
    if side in ("last:2", "cached"):
        fit |= {"cache": side == "cached", "args": {"disable_tqdm": True, "logging_steps": 1}}
    work = {**work, "side": side, "fit": fit, "layers": "last:2" if side in ("last:2", "cached") else None}
    script = HERE / ("recipe_lightadapt.py" if ours else "recipes.py")
    found = run_file(script, work, python=python if side == "adapterhub" else sys.executable, steady=steady)
    found["curve"] = [(seconds, score(work, guesses)) for seconds, _, guesses in found["curve"]]
    found["score"] = found["curve"][-1][1] if found["curve"] else found["losses"][-1][1] if found["losses"] else None
    return {"side": side, "seed": work["seed"], **found}


def score(work: dict[str, Any], predictions: list[Any]) -> float:
    """The headline metric, the same for all sides."""
    test = work["test"]
    if work["task"] == "ner":
        gold = [read_tags(record["tags"]) for record in test]
        return entity_scores(gold, [read_tags(tags) for tags in predictions])[0]["f1"]
    if work["task"] == "classification":
        return classification_scores([record["label"] for record in test], predictions)[0]["accuracy"]
    return question_scores([record["answers"]["text"] for record in test], predictions)["f1"]


# ---- tables


def seconds_until(curve: list[tuple[float, float]], target: float) -> float | None:
    """When the curve reaches the target, on straight lines between its points; None when it does not."""
    for (begin, low), (end, high) in pairwise(curve):
        if low >= target:
            return begin
        if high >= target:
            return begin + (end - begin) * (target - low) / (high - low)
    return None


def summarize(runs: list[Run]) -> dict[str, Run]:
    """The figures of each side: medians over its runs, mean and spread of the score."""
    sides = list(dict.fromkeys(run["side"] for run in runs))
    goals = {run["seed"]: run["score"] for run in runs if run["side"] == "guide"}
    found = {}
    for side in sides:
        mine = [run for run in runs if run["side"] == side]
        scores = [run["score"] for run in mine if run["score"] is not None]
        until = [
            seconds_until(run["curve"], goals[run["seed"]]) for run in mine if run["curve"] and run["seed"] in goals
        ]
        found[side] = {
            **{name: statistics.median(run[name] for run in mine) for name in ("seconds", "padding", "peak")},
            "cpu_speed": statistics.median(run["tokens"] / run["cpu"] for run in mine),
            "speed": statistics.median(run["tokens"] / run["seconds"] for run in mine),
            "whole_speed": statistics.median(run["tokens"] / run["whole"] for run in mine),
            "score": statistics.mean(scores) if scores else None,
            "spread": statistics.stdev(scores) if len(scores) > 1 else 0.0,
            "until": None if not until or None in until else statistics.median(until),
        }
    return found


def as_table(task: Task, found: dict[str, Run]) -> str:
    """The figures as Markdown, with ratios of the speed to the first two sides."""
    bases = [side for side in ("guide", "tuned") if side in found]
    head = ["", "tokens/s", *(f"x {side}" for side in bases), "with set-up", "tokens/CPU s", "padding"]
    head += [task.figure, "training, s", *(["s to guide's"] if task.rising else []), "peak, MiB"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for side, row in found.items():
        cells = [side, f"{row['speed']:,.0f}", *(f"{row['speed'] / found[base]['speed']:.2f}" for base in bases)]
        cells += [f"{row['whole_speed']:,.0f}", f"{row['cpu_speed']:,.0f}", f"{row['padding']:.0%}"]
        cells += ["" if row["score"] is None else f"{row['score']:.4f} ± {row['spread']:.4f}", f"{row['seconds']:.1f}"]
        if task.rising:
            cells += ["not reached" if row["until"] is None else f"{row['until']:.1f}"]
        cells += [f"{row['peak'] / 2**20:,.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def describe_cache(runs: list[Run]) -> str:
    """What the cache gives from the second epoch on, and how far the losses are apart."""
    later = {
        side: statistics.median(
            run["tokens"] / len(run["epochs"]) * len(run["epochs"][1:]) / sum(run["epochs"][1:])
            for run in runs
            if run["side"] == side
        )
        for side in OURS
    }
    losses = {side: [run["losses"] for run in runs if run["side"] == side] for side in OURS}
    apart = max(
        abs(one[1] - other[1])
        for pair in zip(losses["last:2"], losses["cached"], strict=True)
        for one, other in zip(*pair, strict=True)
    )
    lines = ["| from the second epoch on | tokens/s | x lightadapt | x last:2 |", "|---|---|---|---|"]
    for side, speed in later.items():
        lines.append(f"| {side} | {speed:,.0f} | {speed / later['lightadapt']:.2f} | {speed / later['last:2']:.2f} |")
    return "\n".join([*lines, "", f"Losses with and without the cache differ by at most {apart:.2g}."])


def describe_rate(found: Run, work: dict[str, Any], rates: dict[str, float]) -> str:
    """Which share of the machine's matrix rate the real tokens take, as if each cost four operations a parameter."""
    parameters = work_parameters(work["model"])
    used = 4 * parameters * found["speed"]
    shares = [f"{used / rate:.0%} of {rate / 1e9:,.0f} GFLOP/s in {name}" for name, rate in rates.items()]
    return (
        f"lightadapt: 4 x {parameters / 1e6:.1f} M parameters x {found['speed']:,.0f} tokens/s = {used / 1e9:,.1f} "
        f"GFLOP/s, which is {', '.join(shares)} (this machine's matrix products of that shape)."
    )


def measure_rates(work: dict[str, Any]) -> dict[str, float]:
    """The matrix rates of the machine at the size of the model, in the formats that it computes."""
    width = AutoConfig.from_pretrained(work["model"]).hidden_size
    formats = {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if work["bf16"] else {})
    return {name: matrix_rate(512, width, dtype=dtype, device=work["device"]) for name, dtype in formats.items()}


def draw(task: Task, runs: list[Run], file: Path) -> None:
    """The score against the seconds of training, a line a side, with the range over the seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for side in dict.fromkeys(run["side"] for run in runs):
        points = list(zip(*(run["curve"] for run in runs if run["side"] == side), strict=True))
        seconds = [statistics.mean(at for at, _ in point) for point in points]
        scores = [[value for _, value in point] for point in points]
        line = axes.plot(seconds, [statistics.mean(each) for each in scores], marker="o", markersize=4, label=side)
        axes.fill_between(seconds, [min(each) for each in scores], [max(each) for each in scores], alpha=0.15)
        if side == "guide":
            end = statistics.mean(scores[-1])
            axes.axhline(end, color=line[0].get_color(), linestyle=":", label=f"guide ends with {end:.3f}")
    axes.set_xlabel("seconds of training (evaluations not counted)")
    axes.set_ylabel(f"{task.figure} on the test records")
    axes.set_title(f"{Path(task.train).parent.name}: {task.figure} reached after so much training")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


# ---- command line


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    """The options, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=list(TASKS), default="generation")
    parser.add_argument("--data", type=Path, help="folder with ner/, classification/ and qa/")
    parser.add_argument("--records", type=int, help="to train on; default: about three minutes of the slowest side")
    parser.add_argument("--tests", type=int, help="to score on")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--points", type=int, help="how often to score in training")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--sides", help="only these, such as guide,lightadapt")
    parser.add_argument("--python", default="", help="interpreter of an environment with AdapterHub's adapters")
    parser.add_argument(
        "--cache", action="store_true", help="also the two upper blocks alone, with and without a cache"
    )
    parser.add_argument("--steady", action="store_true", help="exact peaks of memory, at the cost of speed")
    parser.add_argument("--model", help="folder of another encoder")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args(arguments)
    task = TASKS[options.task]
    for name in ("records", "tests", "epochs", "points"):
        setattr(options, name, getattr(task, name) if getattr(options, name) is None else getattr(options, name))
    if options.cache and (options.epochs < 2 or not task.train):
        parser.error("--cache compares from the second epoch on, with an encoder: --task ner --epochs 3")
    if options.plot and not task.train:
        parser.error("--plot draws scores, which generation has not")
    return options


def make_work(options: argparse.Namespace, folder: str) -> dict[str, Any]:
    """All that the sides have in common."""
    task = TASKS[options.task]
    if not task.train:
        make_model(folder)
        work = {"train": make_records(options.records), "test": [], "labels": [], "model": folder}
    else:
        work = read_work(options.task, options.data, options.records, options.tests)
        work["model"] = options.model or find_encoder()
    same = {name: getattr(options, name) for name in ("task", "epochs", "points", "threads", "device")}
    return {**work, **same, "fit": task.fit, "bf16": has_bf16(options.device) and bool(task.train)}


def main(arguments: list[str] | None = None) -> int:
    """Run the sides in turn and print the tables; 1 when the data is not there."""
    options = read_options(arguments)
    task = TASKS[options.task]
    if task.train and not (options.data and (options.data / task.train).is_file()):
        print(f"skipped: {options.data} does not hold {task.train} (see --help)")
        return 1
    quiet()
    torch.set_num_threads(options.threads)
    sides = sides_of(task, other_python=bool(options.python), cache=options.cache)
    if options.sides:
        unknown = [side for side in options.sides.split(",") if side not in sides]
        if unknown:
            print(f"--sides {unknown[0]}: choose among {', '.join(sides)}")
            return 1
        sides = options.sides.split(",")
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as folder:
        work = make_work(options, folder)
        rates: dict[str, float] = {}
        for number in range(options.rounds):
            for side in sides:
                now = {**work, "seed": number % options.seeds}
                runs.append(run_side(side, now, python=options.python, steady=options.steady))
                keep(options, runs, rates)
            rates = {name: max(rate, rates.get(name, 0.0)) for name, rate in measure_rates(work).items()}
        found = summarize(runs)
        keep(options, runs, rates)
        print(as_table(task, found))
        print(footnote(options, work))
        if "lightadapt" in found and task.train:
            print("\n" + describe_rate(found["lightadapt"], work, rates))
        if {*OURS} <= {*found}:
            print("\n" + describe_cache(runs))
    if options.plot:
        draw(task, runs, options.plot)
    return 0


def footnote(options: argparse.Namespace, work: dict[str, Any]) -> str:
    """What the figures are of."""
    machine = describe_machine(options.device)
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    bf16 = "computed natively: `tuned` uses it" if work["bf16"] else "not used by `tuned` (not native here)"
    return (
        f"\nRecords {options.records:,}, epochs {options.epochs}, rounds {options.rounds}, seeds "
        f"{min(options.seeds, options.rounds)}; {machine['gpu'] or machine['cpu']}, {options.threads} of "
        f"{machine['cores']} cores; bf16: {bf16}; {versions}."
    )


def keep(options: argparse.Namespace, runs: list[Run], rates: dict[str, float]) -> None:
    """Write all that was measured so far."""
    if options.json:
        settings = {name: getattr(options, name) for name in ("task", "records", "tests", "epochs", "rounds", "seeds")}
        facts = {"machine": describe_machine(options.device), "matrix_rates": rates, "settings": settings, "runs": runs}
        options.json.write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    sys.exit(main())
