"""What each of several processes does, started by torchrun from test_distributed.py.

torchrun … distributed_script.py WHICH FOLDER MODELS writes WHICH-RANK.json into the folder: `data_parallel` is the same
model in every process, `sharded` a part of it in each, `interrupted` runs that signals to one of the processes end,
`ended` a run that waits for a signal to torchrun.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

import lightadapt as la
from lightadapt import sample
from lightadapt.adaptation import artifact, prediction
from lightadapt.machine import processes
from lightadapt.tasks import Classification, Summarization
from lightadapt.training.checkpoints import find_last

RECORDS = sample.records("train")[:31]
TEXTS = [{"source": record["text"][:40], "target": "fine " * (1 + number % 7)} for number, record in enumerate(RECORDS)]
TASKS: dict[str, tuple[str, Any, list[dict[str, Any]]]] = {
    "balanced": ("bert", Classification(class_weights="balanced"), RECORDS),
    "ner": ("bert", "ner", RECORDS),
    "texts": ("llama", Summarization(max_new_tokens=6), TEXTS),
}
"""Losses that are divided by other things than rows: weights of classes, labelled words, labelled tokens."""
BUDGET = 96


class SaveAt(TrainerCallback):
    """Saves a checkpoint two steps before the end, in the middle of an epoch."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == state.max_steps - 2:
            control.should_save = True


class SendAt(TrainerCallback):
    """Sends one process a signal in the middle of a step, or of an evaluation."""

    def __init__(self, rank: int, number: int, step: int = 0, evaluation: int = 0) -> None:
        self.mine = int(os.environ["RANK"]) == rank
        self.number, self.step, self.evaluation = number, step, evaluation

    def on_step_begin(self, args, state, control, **kwargs):
        if self.mine and state.global_step + 1 == self.step:
            os.kill(os.getpid(), self.number)

    def on_evaluate(self, args, state, control, **kwargs):
        self.evaluation -= 1
        if self.mine and self.evaluation == 0:
            os.kill(os.getpid(), self.number)


class Linger(TrainerCallback):
    """Takes its time at every step, and says when the third is reached."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def on_step_end(self, args, state, control, **kwargs):
        time.sleep(0.3)
        if state.global_step == 3:
            self.file.touch()


def make(models: Path, name: str) -> la.Adapted:
    model, task, _ = TASKS[name]
    return la.adapt(str(models / model), task, labels=None if name == "texts" else RECORDS, seed=3)


def learn(adapted: la.Adapted, records: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    """A short run; where two processes take a batch each at a step, one takes two."""
    batches = 2 // int(os.environ.get("WORLD_SIZE", 1))
    given = {"logging_steps": 1, "disable_tqdm": True, "save_total_limit": 9, "gradient_accumulation_steps": batches}
    options = {"validation": records[:9], "epochs": 2, "batch_tokens": BUDGET, **options}
    history = adapted.fit(records, args=given, **options)
    return {"losses": history.losses, "epochs": history.epochs, "steps": history.steps, "padding": history.padding}


def digest(adapted: la.Adapted) -> float:
    """A number that tells the trained weights."""
    return sum(float(tensor.double().abs().sum()) for tensor in adapted.runner.adaptation.tensors().values())


def refusal(action) -> str:
    """What is said against it."""
    try:
        action()
    except la.LightAdaptError as error:
        return str(error)
    return ""


def learn_again(models: Path, name: str, kept: Path, rank: int) -> float:
    """The weights of a run that goes on from its last checkpoint but one."""
    checkpoints = sorted(kept.iterdir(), key=lambda path: int(path.name.split("-")[1]))
    torch.distributed.barrier()
    if rank == 0:
        shutil.rmtree(checkpoints[-1])
    torch.distributed.barrier()
    adapted = make(models, name)
    learn(adapted, TASKS[name][2], output_dir=kept, resume=True)
    return digest(adapted)


def learn_until_ended(models: Path, kept: Path, callback: TrainerCallback, **options: Any) -> dict[str, Any]:
    """What is left of a run that a signal ends."""
    adapted, ended = make(models, "balanced"), ""
    try:
        learn(adapted, RECORDS, output_dir=kept, callbacks=[callback], **options)
    except (SystemExit, KeyboardInterrupt) as error:
        ended = f"{type(error).__name__} {getattr(error, 'code', '')}".strip()
    last = find_last(kept)
    return {
        "ended": ended,
        "steps": adapted.history.steps,
        "kept": last.name if last else "",
        "digest": digest(adapted),
    }


def interrupted(folder: Path, models: Path, rank: int) -> dict[str, Any]:
    whole = make(models, "balanced")
    found = {"whole": learn(whole, RECORDS) | {"digest": digest(whole)}}
    ways = {
        "other": SendAt(1, signal.SIGTERM, step=2),
        "main": SendAt(0, signal.SIGINT, step=2),
        "evaluation": SendAt(1, signal.SIGTERM, evaluation=1),
    }
    for name, callback in ways.items():
        kept = folder / f"kept of {name}"
        found[name] = learn_until_ended(models, kept, callback)
        resumed = make(models, "balanced")
        learn(resumed, RECORDS, output_dir=kept, resume=True)
        found[name]["resumed"] = digest(resumed)
    return found


def ended(folder: Path, models: Path, rank: int) -> dict[str, Any]:
    return learn_until_ended(models, folder / "kept", Linger(folder / f"reached-{rank}"), epochs=50)


def data_parallel(folder: Path, models: Path, rank: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    inferred: list[int] = []
    written: list[str] = []
    infer, write = Classification.infer, artifact.write_artifact
    Classification.infer = lambda self, model, features, view: (
        inferred.extend(feature.example for feature in features) or infer(self, model, features, view)
    )
    artifact.write_artifact = lambda path, **parts: written.append(Path(path).name) or write(path, **parts)
    prediction.BATCH_TOKENS_A_THREAD = 64

    adapted, kept = make(models, "balanced"), folder / "checkpoints"
    found["balanced"] = learn(adapted, RECORDS, output_dir=kept, callbacks=[SaveAt()]) | {"digest": digest(adapted)}
    found["shared"] = list(inferred)
    found["checkpoints"] = list(written)
    inferred.clear()
    found["scores"] = adapted.evaluate(RECORDS[:9])
    found["alone"] = list(inferred)
    if rank == 0:  # as scripts do; the other process does not come along
        found["said"] = adapted.predict([record["text"] for record in RECORDS])
        adapted.save(folder / "by-main")
    written.clear()
    adapted.save(folder / "by-all")
    found["written"] = list(written)
    found["loaded"] = digest(la.load(folder / "by-all"))
    found["not written"] = refusal(lambda: adapted.save(folder))
    found["resumed"] = learn_again(models, "balanced", kept, rank)

    for name in ("ner", "texts"):
        adapted = make(models, name)
        found[name] = learn(adapted, TASKS[name][2]) | {"digest": digest(adapted)}
    stopped = make(models, "balanced")
    steps = learn(stopped, RECORDS[:12], validation=RECORDS[:3], epochs=9, early_stopping=1)["steps"]
    found["early"] = [steps, stopped.history.settings["epochs"], digest(stopped)]
    found["elsewhere"] = refusal(lambda: learn(make(models, "balanced"), RECORDS, output_dir=folder / f"of-{rank}"))
    found["too few"] = refusal(lambda: learn(make(models, "balanced"), RECORDS[:1], validation=None))
    processes.WAIT = timedelta(seconds=1)
    if rank == 1:
        found["without main"] = refusal(lambda: adapted.save(folder / "by-other"))
    torch.distributed.barrier()
    return found


def sharded(folder: Path, models: Path, rank: int) -> dict[str, Any]:
    shard_on_cpu()
    found: dict[str, Any] = {}
    texts = [record["text"] for record in RECORDS[:5]]
    for name in ("balanced", "texts"):
        adapted, records, kept = make(models, name), TASKS[name][2], folder / f"checkpoints of {name}"
        found[name] = learn(adapted, records, output_dir=kept, callbacks=[SaveAt()])
        parts = [parameter for parameter in adapted.model.parameters() if hasattr(parameter, "placements")]
        said, scores = adapted.predict(texts), adapted.evaluate(records[:9])
        adapted.save(folder / name)
        again = la.load(folder / name)
        found[name] |= {
            "in parts": len(parts) == len(list(adapted.model.parameters())),
            "digest": digest(adapted),
            "same": again.predict(texts) == said and again.evaluate(records[:9]) == scores,
            "merge": refusal(adapted.merge),
        }
    found["resumed"] = learn_again(models, "balanced", folder / "checkpoints of balanced", rank)
    processes.WAIT = timedelta(seconds=1)
    if rank == 0:
        found["alone"] = refusal(lambda: adapted.predict(texts))
    torch.distributed.barrier()
    return found


def shard_on_cpu() -> None:
    """Turn on FSDP as accelerate's config does on GPUs: torch shards on CPUs, too, only accelerate does not ask it."""
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType

    start = AcceleratorState.__init__

    def start_sharded(self, *args, fsdp_plugin=None, **kwargs):
        start(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None:
            self._shared_state |= {"distributed_type": DistributedType.FSDP, "fsdp_plugin": fsdp_plugin}

    AcceleratorState.__init__ = start_sharded
    os.environ |= {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
        "FSDP_RESHARD_AFTER_FORWARD": "true",
    }


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    which, folder, models = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    rank = int(os.environ["RANK"])
    found = {each.__name__: each for each in (data_parallel, sharded, interrupted, ended)}[which](folder, models, rank)
    (folder / f"{which}-{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
