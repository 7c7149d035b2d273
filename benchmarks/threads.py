"""Many threads on one base: each answer has to be the one that the same call gives alone.

    python benchmarks/threads.py --threads 8 --calls 1000   # 8,000 calls of predict on a tiny model; some minutes

Four adaptations of one base, each with a task and a method of its own, are asked in lists of texts of mixed lengths: by
`adapter=` with one name or a name for each input, and by `use`, which chooses for its thread. Between them the threads
evaluate, save and preview. Every call is made once before the threads start. `wrong` counts answers that differ from
it by a bit, `failed` exceptions, and `hung` threads that are not done when the time is over. Exit status 1 if there is
any.
"""

from __future__ import annotations

import faulthandler
import hashlib
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import TextIOBase
from pathlib import Path
from typing import Any

import torch
from command import command, set_up
from transformers import BertConfig, BertModel
from words import save_word_tokenizer

import lightadapt as la

WORDS = ["where", "is", "my", "parcel", "please", "send", "a", "refund", "thank", "you", "from", "Rome"]
LENGTHS = (1, 2, 3, 5, 8, 20, 60)
"""Words of a text; the last are longer than the model takes."""
OTHERS = 20
"""Of so many calls one is evaluate, save or preview."""
NAMES = {
    "default": ("classification", "lora", ["parcel", "refund", "thanks"]),
    "topics": ("multilabel", "prefix", ["parcel", "refund", "thanks"]),
    "places": ("ner", "bottleneck", ["PER", "LOC"]),
    "answers": ("qa", "ia3", None),
}
"""The adaptations: task, method and labels."""


@dataclass(frozen=True)
class Call:
    """Something to do, and what it gave when nothing else ran."""

    kind: str
    make: Callable[[la.Adapted, Path], Any]
    """What does it, given a folder of the thread's own."""
    alone: Any


class Printed(TextIOBase):
    """A standard output that keeps what each thread prints for that thread."""

    def __init__(self) -> None:
        self._own = threading.local()

    def write(self, text: str) -> int:
        """Keep a text."""
        self._own.text = getattr(self._own, "text", "") + text
        return len(text)

    def take(self) -> str:
        """What this thread has printed since it last took it."""
        text, self._own.text = getattr(self._own, "text", ""), ""
        return text


PRINTED = Printed()


# ---- what is called


def text_of(draw: random.Random) -> str:
    """A text of a length that is drawn."""
    return " ".join(draw.choices(WORDS, k=draw.choice(LENGTHS)))


def inputs_of(name: str, draw: random.Random) -> list[Any]:
    """One to four inputs of the task of that name."""
    count = draw.randint(1, 4)
    return [
        {"question": "where is it", "context": text_of(draw)} if name == "answers" else text_of(draw)
        for _ in range(count)
    ]


def records_of(name: str, draw: random.Random) -> list[Any]:
    """Records with answers, to be evaluated."""
    found: list[Any] = []
    for _ in range(4):
        text = text_of(draw)
        found.append(
            {
                "default": {"text": text, "label": "refund"},
                "topics": {"text": text, "labels": ["parcel", "thanks"]},
                "places": {"text": text, "entities": [{"start": 0, "end": len(text.split()[0]), "label": "LOC"}]},
                "answers": {
                    "question": "where is it",
                    "context": text,
                    "answers": {"text": [text.split()[0]], "answer_start": [0]},
                },
            }[name]
        )
    return found


def by_name(name: str, inputs: list[Any], *, scores: bool) -> Callable[[la.Adapted, Path], Any]:
    """A call of predict that names the adaptation."""
    return lambda adapted, _: adapted.predict(inputs, scores=scores, adapter=name)


def by_use(name: str, inputs: list[Any], *, scores: bool) -> Callable[[la.Adapted, Path], Any]:
    """A call of predict on the adaptation that this thread chose."""
    return lambda adapted, _: adapted.use(name).predict(inputs, scores=scores)


def by_names(names: list[str], inputs: list[Any]) -> Callable[[la.Adapted, Path], Any]:
    """A call of predict with a name for each input."""
    return lambda adapted, _: adapted.predict(inputs, adapter=names)


def evaluate(name: str, records: list[Any]) -> Callable[[la.Adapted, Path], Any]:
    """The scores of one adaptation."""
    return lambda adapted, _: adapted.use(name).evaluate(records, report=False)


def preview(name: str, records: list[Any]) -> Callable[[la.Adapted, Path], Any]:
    """What one adaptation would learn from, as it is printed."""

    def make(adapted: la.Adapted, folder: Path) -> str:
        PRINTED.take()
        adapted.use(name).preview(records)
        return PRINTED.take()

    return make


def save(name: str) -> Callable[[la.Adapted, Path], Any]:
    """The digest of the weights that were saved."""

    def make(adapted: la.Adapted, folder: Path) -> str:
        adapted.use(name).save(folder / name)
        return hashlib.sha256((folder / name / "adapter_model.safetensors").read_bytes()).hexdigest()

    return make


def calls_of(adapted: la.Adapted, folder: Path, draw: random.Random) -> tuple[list[Call], list[Call]]:
    """The calls of predict that are drawn from, and the others, with what each gives alone."""
    asked: list[Any] = []
    others: list[Any] = []
    for name, (task, *_) in NAMES.items():
        for _ in range(12):
            scores = task in ("classification", "multilabel") and draw.random() < 0.5
            asked.append(("adapter=name", by_name(name, inputs_of(name, draw), scores=scores)))
            asked.append(("use", by_use(name, inputs_of(name, draw), scores=scores)))
        records = records_of(name, draw)
        others += [("evaluate", evaluate(name, records)), ("preview", preview(name, records)), ("save", save(name))]
    for _ in range(24):
        names = draw.choices(list(NAMES), k=6)
        asked.append(("adapter=[names]", by_names(names, [inputs_of(name, draw)[0] for name in names])))
    made = [[Call(kind, make, make(adapted, folder)) for kind, make in some] for some in (asked, others)]
    adapted.use("default")
    return made[0], made[1]


# ---- the base and its adaptations


def build(folder: Path) -> la.Adapted:
    """A tiny model with random weights, and four adaptations that say different things."""
    vocabulary = ["[PAD]", "[UNK]", *WORDS, "it"]
    save_word_tokenizer(
        folder, {word: place for place, word in enumerate(vocabulary)}, unknown="[UNK]", end="[PAD]", pad="[PAD]"
    )
    torch.manual_seed(1)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=40, **shape)
    BertModel(config).save_pretrained(folder)
    task, method, labels = NAMES["default"]
    adapted = la.adapt(folder, task, method, labels=labels, dtype="float32")
    for name, (task, method, labels) in NAMES.items():
        if name != "default":
            adapted.add(name, task=task, method=method, labels=labels)
        with torch.no_grad():
            for parameter in adapted.use(name).model.parameters():
                parameter += 0.3 * torch.randn_like(parameter) * parameter.requires_grad
    return adapted.use("default")


# ---- the threads


class Work:
    """What the threads do, and what came of it."""

    def __init__(self, adapted: la.Adapted, asked: list[Call], others: list[Call], count: int) -> None:
        self.adapted, self.asked, self.others, self.count = adapted, asked, others, count
        self.made: Counter[str] = Counter()
        self.problems: list[str] = []

    def run(self, number: int, folder: Path, seed: int) -> None:
        """The calls of one thread, in an order of its own."""
        draw = random.Random(f"{seed} {number}")
        for step in range(self.count):
            self._do(draw.choice(self.asked), number, folder)
            if step % OTHERS == number % OTHERS:
                self._do(draw.choice(self.others), number, folder)

    def _do(self, call: Call, number: int, folder: Path) -> None:
        try:
            found = call.make(self.adapted, folder)
        except Exception as error:  # what this counts
            self._note("failed", f"thread {number}, {call.kind}: {type(error).__name__}: {str(error)[:200]}")
        else:
            if found != call.alone:
                self._note(
                    "wrong", f"thread {number}, {call.kind}: {str(found)[:200]} instead of {str(call.alone)[:200]}"
                )
        self.made[call.kind] += 1

    def _note(self, what: str, text: str) -> None:
        self.problems.append(what)
        print(f"{what}: {text}", file=sys.stderr, flush=True)


def run(threads: int, calls: int, *, seed: int = 0, patience: float = 3600) -> tuple[Counter[str], Counter[str], float]:
    """How many calls of each kind were made, how many problems of each kind there were, and the seconds.

    Args:
        calls: of predict, in each thread.
        patience: seconds after which a thread is taken to hang.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place, redirect_stdout(PRINTED):  # type: ignore[type-var]
        adapted = build(Path(place) / "base")
        asked, others = calls_of(adapted, Path(place) / "alone", random.Random(seed))
        work = Work(adapted, asked, others, calls)
        each = [
            threading.Thread(target=work.run, args=(number, Path(place) / str(number), seed), daemon=True)
            for number in range(threads)
        ]
        start = time.monotonic()
        for thread in each:
            thread.start()
        for thread in each:
            thread.join(max(0.0, start + patience - time.monotonic()))
        seconds = time.monotonic() - start
        hung = sum(thread.is_alive() for thread in each)
        if hung:
            faulthandler.dump_traceback()
        return Counter(work.made), Counter(work.problems) + Counter({"hung": hung}), seconds


def main() -> None:
    """Let the threads work, and print what came of it."""
    parser = command(__doc__, threads=8)
    parser.add_argument("--calls", type=int, default=1000, help="of predict, in each thread (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: %(default)s)")
    parser.add_argument(
        "--patience", type=float, default=3600, help="seconds until a thread hangs (default: %(default)s)"
    )
    given = parser.parse_args()
    set_up(1)
    made, problems, seconds = run(given.threads, given.calls, seed=given.seed, patience=given.patience)
    for kind in sorted(made):
        print(f"{kind:15} {made[kind]:6}")
    print(f"{given.threads} threads, {sum(made.values()):,} calls in {seconds:.0f} s:", end=" ")
    print(", ".join(f"{problems[kind]} {kind}" for kind in ("wrong", "failed", "hung")))
    sys.exit(bool(problems.total()))


if __name__ == "__main__":
    main()
