"""Runs and saves that are killed at random moments: what comes of them, against what never was, bit for bit.

python benchmarks/kills.py [--kills 50] [--saves 50] [--only lora,full] [--model FOLDER] [--seed 0] [--json FILE]

Each kill is a SIGKILL. Of a run it comes at a random moment after a random number of steps, or (every other one)
while a checkpoint is being written then; a killed run is started again with `resume=True` until it ends, and its
trained tensors are compared. Of a save it comes at a random moment (every other one while files are written) while
two states are saved to one folder in turns; what the folder holds then has to be one of the two. The model is a small
random one with the tokenizer of `lightadapt[demo]`, unless `--model` names another; the records are the package's own
sample. Processes are forked from one that has imported everything and computed nothing, so this runs where there is
`fork`, and on a CPU.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from command import command, keep, names_of, set_up
from data_sets import find_encoder
from transformers import AutoConfig, AutoModel, AutoTokenizer, TrainerCallback

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
    "run | kills | in a step | in a checkpoint | seconds | bit-equal",
    "{name} | {kills} | {steps} | {writing} | {seconds:.1f} | {same}",
)
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4}


def make_small(encoder: str, folder: Path) -> None:
    """Write a random model of the encoder's kind with its tokenizer."""
    set_up(1)
    AutoModel.from_config(AutoConfig.from_pretrained(encoder, **SIZES)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(encoder).save_pretrained(folder)


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
    result.write_text(digest_of(adapted))


def digest_of(adapted: la.Adapted) -> str:
    """A text that tells the trained weights."""
    digest = hashlib.sha256()
    for key, tensor in sorted(adapted.runner.adaptation.tensors().items()):
        digest.update(key.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def start(action: Callable[..., None], *given: Any) -> int:
    """The number of a process that does this."""
    number = os.fork()
    if number:
        return number
    try:
        action(*given)
    except BaseException as error:
        print(f"{action.__name__} {given[0]}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(0)


def do(action: Callable[..., None], *given: Any) -> None:
    """Let a process do this, and wait for it."""
    os.waitpid(start(action, *given), 0)


def unsealed(folder: Path) -> set[tuple[str, int]]:
    """The checkpoints that are not complete: their names, and when something in their folders changed."""
    found = set()
    for path in folder.glob("checkpoint-*"):
        try:
            if not (path / SEAL_NAME).is_file():
                found.add((path.name, path.stat().st_mtime_ns))
        except FileNotFoundError:  # it went meanwhile
            continue
    return found


class Count(TrainerCallback):
    """Makes a file as many bytes long as steps were taken."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Add one."""
        with self.file.open("a") as stream:
            stream.write(".")


def end(number: int) -> None:
    """Kill a process."""
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)


def kill(number: int, steps: int, seconds: float, folder: Path, *, in_writing: bool) -> tuple[bool, bool]:
    """Kill a run after some steps and a while, or in its next checkpoint; whether it lived, and was writing."""
    file, left = folder.with_suffix(".steps"), unsealed(folder)
    while not os.waitpid(number, os.WNOHANG)[0]:
        if file.is_file() and file.stat().st_size >= steps and (not in_writing or unsealed(folder) - left):
            time.sleep(0 if in_writing else seconds)
            end(number)
            return True, bool(unsealed(folder) - left)
        time.sleep(0.0005)
    return False, False


def attack(name: str, model: str, kills: int, generator: random.Random) -> dict[str, Any]:
    """Kill runs of a kind so many times, and compare what they end with."""
    found: list[str] = []
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="lightadapt-kills-") as place:
        result, done, writing = Path(place, "digest"), 0, 0
        do(run, name, model, Path(place, "whole"), result)
        whole = result.read_text()
        while done < kills:
            folder = Path(place, f"round {len(found)}")
            folder.mkdir()
            result.unlink(missing_ok=True)
            for turn in range(4):
                if done == kills or turn == 3:
                    do(run, name, model, folder, result)
                    break
                folder.with_suffix(".steps").unlink(missing_ok=True)
                number = start(run, name, model, folder, result)
                steps, wait = generator.randint(1, 6), generator.uniform(0, 0.1)
                alive, wrote = kill(number, steps, wait, folder, in_writing=done % 2 == 1)
                done, writing = done + alive, writing + wrote
                if not alive:
                    break
            found.append(result.read_text() if result.is_file() else "it failed")
    same = f"{found.count(whole)} of {len(found)} runs"
    facts = {"name": name, "kills": done, "steps": done - writing, "writing": writing, "same": same}
    return {**facts, "seconds": time.perf_counter() - began, "equal": set(found) <= {whole}}


# ---- saves


def save_two(states: list[Path]) -> None:
    """Train two states, and save each in its place."""
    set_up(1)
    records = sample.records("train")[:RECORDS]
    adapted = la.adapt(str(states[0].parent / "model"), "classification", labels=records, device="cpu", seed=3)
    for state in states:
        adapted.fit(records, epochs=1, args={"disable_tqdm": True})
        adapted.save(state)
        state.with_suffix(".digest").write_text(digest_of(adapted))


def say_saved(folder: Path, found: Path) -> None:
    """Write down which weights the folder holds."""
    set_up(1)
    with found.open("a") as stream:
        stream.write(digest_of(la.load(folder, device="cpu")) + "\n")


def save_in_turns(folder: Path, states: list[Path], found: Path, begun: Path) -> None:
    """Say what the last kill has left, and save one state after the other to the folder until somebody ends this."""
    set_up(1)
    if any(folder.parent.iterdir()):
        say_saved(folder, found)
    adapted = [la.load(state, device="cpu") for state in states]
    began = time.perf_counter()
    adapted[0].save(folder)
    half_way = begun.with_suffix(".half")
    half_way.write_text(str(time.perf_counter() - began))
    half_way.replace(begun)
    while True:
        for each in reversed(adapted):  # so that the first one after `begun` changes what is there
            each.save(folder)


def attack_saves(model: str, kills: int, generator: random.Random) -> dict[str, Any]:
    """Kill so many saves, and look each time at what the folder holds."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="lightadapt-kills-") as place:
        folder, found, begun = Path(place, "in turns", "saved"), Path(place, "found"), Path(place, "begun")
        states = [Path(place, name) for name in ("one", "two")]
        folder.parent.mkdir()
        Path(place, "model").symlink_to(Path(model).absolute())
        do(save_two, states)
        known = {state.with_suffix(".digest").read_text() for state in states}
        half = 0
        for turn in range(kills):
            number = start(save_in_turns, folder, states, found, begun)
            while not begun.exists():
                if os.waitpid(number, os.WNOHANG)[0]:
                    raise RuntimeError("what the last kill has left cannot be loaded, or not be saved over")
                time.sleep(0.001)
            time.sleep(generator.uniform(0, 4 * float(begun.read_text())))  # within the next saves
            while turn % 2 and not list(folder.parent.glob(".saved.*")):
                if os.waitpid(number, os.WNOHANG)[0]:
                    raise RuntimeError("a save failed")
                time.sleep(0.0001)
            end(number)
            begun.unlink()
            half += bool(list(folder.parent.glob(".saved.*")))
        do(say_saved, folder, found)
        seen = found.read_text().split()
    good = sum(digest in known for digest in seen)
    facts = {"kills": kills, "half": half, "good": good, "seconds": time.perf_counter() - began}
    held = sorted(seen.count(digest) for digest in known)
    return {**facts, "held": held, "equal": good == kills and len(known) == 2}


def main() -> int:
    """Print the table; 1 when a run ended with other weights, or a folder holds what was never saved."""
    parser = command(__doc__, only=",".join(FITS), model="", json=None)
    parser.add_argument("--kills", type=int, default=50, help="of runs, in all; default: %(default)s")
    parser.add_argument("--saves", type=int, default=50, help="kills of saves; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    names = names_of(parser, options.only, FITS)
    generator, facts = random.Random(options.seed), []
    with tempfile.TemporaryDirectory(prefix="lightadapt-kills-") as place:
        model = options.model or place
        if not options.model:
            do(make_small, str(find_encoder()), Path(place))
        print(TABLE.head, flush=True)
        for number, name in enumerate(names):
            share = options.kills * (number + 1) // len(names) - options.kills * number // len(names)
            facts.append(attack(name, model, share, generator))
            print(TABLE.row(facts[-1]), flush=True)
        saves = attack_saves(model, options.saves, generator)
    kills, good = (sum(entry["kills"] for entry in facts), all(entry["equal"] for entry in facts))
    print(f"\n{kills} kills of runs, {sum(entry['writing'] for entry in facts)} of them in a checkpoint")
    print(
        f"{saves['kills']} kills of saves, {saves['half']} of them in the middle of it; {saves['good']} folders whole: "
        f"{' and '.join(map(str, saves['held']))} with each state"
    )
    keep(options.json, {"runs": facts, "saves": saves})
    return int(not (good and saves["equal"]))


if __name__ == "__main__":
    sys.exit(main())
