"""Malformed records and files of every task: how many are refused with the field's name, read as they are, or fail.

python benchmarks/malformed.py [--count 10000] [--seed 0] [--show accepted]

Each input is a good record with one or two things wrong: a value of another kind, a missing or misspelt field, an
offset that is one off, half a character, a list in itself, or a file with bytes changed. It is given as a list, a
frame, a data set or a file of each kind, and read, checked and held against the labels as `evaluate` does. What is
accepted is compared with what the input says by the strict rules of `oracle.py`. Changes in silence, foreign
exceptions, refusals that name neither field nor file, and what computes for over a second are faults; `--show` prints
inputs.
"""

from __future__ import annotations

import copy
import json
import random
import re
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import torch
from command import command, set_up
from oracle import difference, rows_of

import lightadapt as la
from lightadapt.data import Record
from lightadapt.errors import shown
from lightadapt.tasks import LabelledTask, Task, resolve_task

TASKS = (
    "classification multilabel regression ner qa relation multiple-choice generation summarization translation dialogue"
)
FURTHER: dict[str, list[Record]] = {
    "classification": [{"text": "hello", "text_pair": "you", "label": "b"}],
    "ner": [
        {"text": "Ann ran", "entities": [{"start": 0, "end": 3, "label": "a", "text": "Ann"}]},
        {"tokens": ["Ann", "ran"], "tags": ["B-a", "O"]},
    ],
    "generation": [{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]}],
    "translation": [{"source": "my order", "target": ["ma commande", "la commande"]}],
}
"""Forms of records beside those of `Task.samples`."""
FORMS = ["list"] * 8 + ["frame", "dataset", "jsonl", "json", "csv", "tsv", "parquet", "conll"]
GOOD = ("read as it is", "read with a warning", "refused")
KINDS = (*GOOD, "changed in silence", "refused without a field", "foreign exception", "slower than 1 s")
LABELS = ("a", "b")
PARTS = ("token", "tag", "entity", "answer", "choice", "message", "holds no records")
"""Of fields that hold several, of which an error may name the one that is wrong; and where there is no field."""


class Odd:
    """A value that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


DEEP: Any = "x"
for _ in range(3000):
    DEEP = [DEEP]
ITSELF: list[Any] = []
ITSELF.append(ITSELF)
# fmt: off
PLAIN = [
    None, "", " ", 0, -1, 1, 5, 10**400, -(10**5000), 0.5, 1e308, True, b"x", 1j, range(3), date(2020, 1, 1), object(),
    "x", "a ", "A", "1_5", "Assistant", "\u200b", "0", "1" * 5000, "a\ud800", "\0", "nan", "<e1>x", "z" * 100_000,
    Fraction(10**400), Odd(), ITSELF, DEEP, float("nan"), Decimal("nan"), Decimal(1), np.float32("nan"), np.int64(1),
    np.bool_(1), np.array(1), np.array([1, 2]), torch.tensor(1), torch.ones(2), [0, 1, 0], ["a"], [], {}, set(),
    {"a": Odd()}, [Odd()], ["a"] * 20_000, {"start": 0, "end": 3},
]
# fmt: on
"""What stands where something else should."""


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container in a record with each of its keys, three levels deep."""
    for key in list(value) if isinstance(value, dict) else range(min(3, len(value))):
        yield value, key
        if isinstance(value[key], (dict, list)) and not any(value[key] is each for each in PLAIN):
            yield from places_in(value[key])


def spoil(record: Record, chance: random.Random) -> None:
    """Make one thing wrong with a record."""
    container, key = chance.choice(list(places_in(record)))
    kind = chance.choice(["value"] * 5 + ["delete", "rename", "shift", "twice"])
    if kind == "delete" or (kind == "rename" and isinstance(container, list)):
        del container[key]
    elif kind == "rename":
        name = str(key)
        container[chance.choice([f"{name}s", name.upper(), name[:-1], 5, "\ud800", "x" * 5000])] = container.pop(key)
    elif kind == "shift" and type(container[key]) is int:
        container[key] += chance.choice([-1, 1, 1000])
    elif kind == "twice" and isinstance(container, list):
        container.insert(key, copy.deepcopy(container[key]))
    else:
        container[key] = chance.choice(PLAIN)


def as_form(records: list[Record], form: str, folder: Path, chance: random.Random) -> Any:
    """The records as data of this form, a file with some bytes changed; what no such form can hold raises."""
    if form == "list":
        return records
    path, text = folder / f"data.{form}", json.dumps(records)  # Arrow crashes on a list in itself, which JSON refuses
    if form == "frame":
        return pandas.DataFrame(records)
    if form == "dataset":
        return datasets.Dataset.from_list(records)
    if form == "parquet":
        pandas.DataFrame(records).to_parquet(path)
    elif form == "conll":
        path.write_text("\n".join(f"{word}\tO" for word in text.split()) + "\nAnn\tB-a\n")
    elif form in ("csv", "tsv"):
        frame = pandas.DataFrame(records)
        path.write_bytes(frame.to_csv(index=False, sep="\t" if form == "tsv" else ",").encode("utf-8", "surrogatepass"))
    else:
        path.write_text(text if form == "json" else "\n".join(map(json.dumps, records)))
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice([0, 1, 1, 4])):
        at, new = chance.randrange(len(content) + 1), chance.choice([b"", b'"', b"\n", b"\t", b"\xff\xfe", b"\0", b"]"])
        content[at : at + chance.randrange(3)] = new
    path.write_bytes(content)
    return path


def outcome(task: Task, data: Any, form: str, count: int) -> tuple[str, str]:
    """What comes of malformed data of a task that is read and held against the labels: the kind, and what was said.

    Args:
        count: of the records that were written, or given.
    """
    start = time.process_time()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            examples, _ = task.read_examples(data, split="train", columns=None)
        took = time.process_time() - start
        kind, said = _judged(task, data, form, examples, count, [str(each.message) for each in caught])
    except la.LightAdaptError as error:
        took, said = time.process_time() - start, str(error)
        named = re.search(rf"\b({'|'.join((*task.fields, *PARTS))})\b", said) or (
            isinstance(data, Path) and str(data) in said
        )
        kind = "refused" if named and len(said) <= 1_000 else "refused without a field"
    except Exception:
        took, kind, said = time.process_time() - start, "foreign exception", traceback.format_exc()
    return ("slower than 1 s" if took > 1 else kind), said


def _judged(
    task: Task, data: Any, form: str, examples: Sequence[Any], count: int, warned: list[str]
) -> tuple[str, str]:
    """Whether accepted data was read as what it says."""
    said = shown(data.read_bytes() if isinstance(data, Path) else data, 300)
    if warned:
        return "read with a warning", f"{warned[0]} | {said}"
    try:
        rows = rows_of(data, form)
        changed = difference(task, rows, examples, LABELS)
        if form != "conll" and len(rows) != count:  # an empty line makes two good sentences of one
            changed = changed or f"{count} records were written, and {len(rows)} are there"
    except Exception as error:  # of a parser that finds no sense in the data
        changed = f"no rows: {type(error).__name__}: {error}"
    return ("changed in silence", f"{changed} | {said}") if changed else ("read as it is", said)


def trials(count: int, seed: int, folder: Path) -> Iterator[tuple[str, str, str, str]]:
    """The task, the form, the kind of outcome and what was said, of so many malformed inputs."""
    chance = random.Random(seed)
    while count:
        name, form = chance.choice(TASKS.split()), chance.choice(FORMS)
        task = resolve_task(name)
        if isinstance(task, LabelledTask):
            task = task.with_labels(LABELS)
        records = copy.deepcopy([*task.samples(), *FURTHER.get(name, [])])
        try:
            for _ in range(chance.choice([1, 1, 2])):
                spoil(chance.choice(records), chance)
            data = as_form(records, form, folder, chance)
        except Exception:  # no data of this form can hold it, or nothing is left to spoil
            continue
        yield name, form, *outcome(task, data, form, len(records))
        count -= 1


def main() -> None:
    """The table of a run."""
    parser = command(__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="malformed inputs")
    parser.add_argument("--seed", type=int, default=0, help="of what is wrong with them")
    parser.add_argument("--show", choices=KINDS, help="print what was said for the inputs of this kind")
    options = parser.parse_args()
    set_up(1)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for name, form, kind, said in trials(options.count, options.seed, Path(folder)):
            counts[kind] += 1
            if options.show == kind:
                print(name, form, said, sep=" | ")
    for kind in KINDS:
        print(f"| {kind} | {counts[kind]:,} |")


if __name__ == "__main__":
    main()
