"""Runs that are killed at random moments and resumed, against one that never was: the same weights, bit for bit.

python benchmarks/kills.py [--kills 50] [--only lora,full] [--model FOLDER] [--seed 0] [--json FILE]

Each kill is a SIGKILL, at a random moment after a random number of steps, or (every other one) while a checkpoint is
being written then. A killed run is started again with `resume=True` until it ends; its trained tensors are compared bit
for bit. The model is the MiniLM of `lightadapt[demo]`, the records are the package's own sample. Processes are forked
from one that has imported everything and computed nothing, so this runs where there is `fork`, and on a CPU.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from command import command, keep, names_of, set_up
from data_sets import find_encoder
from transformers import TrainerCallback

import lightadapt as la
from lightadapt import sample
from lightadapt.experiments.markdown import Table
from lightadapt.training.checkpoints import SEAL_NAME

RECORDS = 64
FITS: dict[str, dict[str, Any]] = {
    "lora": {},
    "prefix": {"method": "prefix"},
    "bottleneck": {"method": "bottleneck", "args": {"gradient_accumulation_steps": 2}},
    "full": {"method": "full", "args": {"save_total_limit": 1}},
    "best": {"validates": True},
    "stops early": {"validates": True, "early_stopping": 1, "epochs": 6, "learning_rate": 1e-4},
    "cached blocks": {"layers": "last:2"},
    "by steps": {"args": {"save_strategy": "steps", "save_steps": 2}},
    "by the clock": {"args": {"save_strategy": "no"}},
    "evaluated by steps": {"validates": True, "args": {"eval_strategy": "steps", "eval_steps": 3}},
    "ner": {"task": "ner", "base_dropout": True},
}
"""What differs in the runs of each kind."""
TABLE = Table(
    "run | kills | while writing | seconds | bit-equal", "{name} | {kills} | {writing} | {seconds:.1f} | {same}"
)


def run(name: str, model: str, folder: Path, result: Path) -> None:
    """Train in this process, going on from what is in the folder; the digest of the weights goes to a file."""
    set_up(1)
    given = dict(FITS[name])
    records, built = sample.records("train"), {key: given.pop(key) for key in ("method", "layers") if key in given}
    adapted = la.adapt(model, given.pop("task", "classification"), labels=records, device="cpu", seed=3, **built)
    validation = sample.records("validation")[:16] if given.pop("validates", False) else None
    args = {"disable_tqdm": True, **given.pop("args", {})}
    count = Count(folder.with_suffix(".steps"))
    options = {"epochs": 3, "save_minutes": 0.5 / 60, **given}
    adapted.fit(records[:RECORDS], validation, output_dir=folder, resume=True, args=args, callbacks=[count], **options)
    digest = hashlib.sha256()
    for key, tensor in sorted(adapted.runner.adaptation.tensors().items()):
        digest.update(key.encode() + tensor.numpy().tobytes())
    result.write_text(digest.hexdigest())


def start(name: str, model: str, folder: Path, result: Path) -> int:
    """The number of a process that does this."""
    number = os.fork()
    if number:
        return number
    try:
        run(name, model, folder, result)
    except BaseException as error:
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(0)


def is_writing(folder: Path) -> bool:
    """Whether a checkpoint is there that is not complete."""
    return any(not (path / SEAL_NAME).is_file() for path in folder.glob("checkpoint-*"))


class Count(TrainerCallback):
    """Makes a file as many bytes long as steps were taken."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Add one."""
        with self.file.open("a") as stream:
            stream.write(".")


def kill(number: int, steps: int, seconds: float, folder: Path, *, in_writing: bool) -> tuple[bool, bool]:
    """Kill a process after some steps and a while, or in its next checkpoint; whether it lived, and was writing."""
    file = folder.with_suffix(".steps")
    while not os.waitpid(number, os.WNOHANG)[0]:
        if file.is_file() and file.stat().st_size >= steps and (not in_writing or is_writing(folder)):
            time.sleep(0 if in_writing else seconds)
            os.kill(number, signal.SIGKILL)
            os.waitpid(number, 0)
            return True, is_writing(folder)
        time.sleep(0.001)
    return False, False


def attack(name: str, model: str, kills: int, generator: random.Random) -> dict[str, Any]:
    """Kill runs of a kind so many times, and compare what they end with."""
    found: list[str] = []
    with tempfile.TemporaryDirectory(prefix="lightadapt-kills-") as place:
        result, done, writing, began = Path(place, "digest"), 0, 0, time.perf_counter()
        os.waitpid(start(name, model, Path(place, "whole"), result), 0)
        whole, seconds = result.read_text(), time.perf_counter() - began
        while done < kills:
            folder = Path(place, f"round {len(found)}")
            folder.mkdir()
            result.unlink(missing_ok=True)
            for turn in range(4):
                if done == kills or turn == 3:
                    os.waitpid(start(name, model, folder, result), 0)
                    break
                folder.with_suffix(".steps").unlink(missing_ok=True)
                number = start(name, model, folder, result)
                steps, wait = generator.randint(1, 6), generator.uniform(0, 0.1)
                alive, wrote = kill(number, steps, wait, folder, in_writing=done % 2 == 1)
                done, writing = done + alive, writing + wrote
                if not alive:
                    break
            found.append(result.read_text() if result.is_file() else "it failed")
    same = f"{found.count(whole)} of {len(found)} runs"
    facts = {"name": name, "kills": done, "writing": writing, "seconds": seconds}
    return {**facts, "same": same, "equal": set(found) == {whole}}


def main() -> int:
    """Print the table; 1 when a run ended with other weights."""
    parser = command(__doc__, only=",".join(FITS), model="", json=None)
    parser.add_argument("--kills", type=int, default=50, help="in all; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    names = names_of(parser, options.only, FITS)
    generator, facts = random.Random(options.seed), []
    model = options.model or find_encoder()
    print(TABLE.head, flush=True)
    for number, name in enumerate(names):
        share = options.kills * (number + 1) // len(names) - options.kills * number // len(names)
        facts.append(attack(name, str(model), share, generator))
        print(TABLE.row(facts[-1]), flush=True)
    keep(options.json, {"runs": facts})
    return int(not all(entry["equal"] for entry in facts))


if __name__ == "__main__":
    sys.exit(main())
