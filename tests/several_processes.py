"""What each of several processes does, started by torchrun from test_distributed.py.

torchrun … several_processes.py WHICH FOLDER MODELS writes WHICH-RANK.json into the folder: `data_parallel` is the same
model in every process, `sharded` a part of it in each.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

import lightadapt as la
from lightadapt import checkpoint, sample
from lightadapt.tasks import Classification, Summarization
from lightadapt.training import inference

RECORDS = sample.records("train")[:31]
TEXTS = [{"source": record["text"][:40], "target": "fine " * (1 + number % 7)} for number, record in enumerate(RECORDS)]
HELD_OUT = sample.records("train")[40:57]
TASKS: dict[str, tuple[str, Any, list[dict[str, Any]]]] = {
    "balanced": ("bert", Classification(class_weights="balanced"), RECORDS),
    "ner": ("bert", "ner", RECORDS),
    "texts": ("llama", Summarization(max_new_tokens=6), TEXTS),
}
"""Losses that are divided by other things than rows: weights of classes, labelled words, labelled tokens."""
BUDGET = 96


class StopAt(TrainerCallback):
    """Ends a run at a step, with a checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            control.should_save = control.should_training_stop = True


def make(models: Path, name: str) -> la.Adapted:
    model, task, _ = TASKS[name]
    return la.adapt(str(models / model), task, labels=None if name == "texts" else RECORDS, seed=3)


def learn(adapted: la.Adapted, records: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    """A short run; where two processes take a batch each at a step, one takes two."""
    batches = 2 // int(os.environ.get("WORLD_SIZE", 1))
    given = {"logging_steps": 1, "disable_tqdm": True, "gradient_accumulation_steps": batches}
    options = {"validation": records[:9], "epochs": 2, "batch_tokens": BUDGET, **options}
    history = adapted.fit(records, args=given, **options)
    return {"losses": history.losses, "epochs": history.epochs, "steps": history.steps, "padding": history.padding}


def digest(adapted: la.Adapted) -> float:
    """A number that tells the trained weights."""
    return sum(float(tensor.double().abs().sum()) for tensor in adapted._now._tensors().values())


def refusal(action) -> str:
    """What is said against it."""
    try:
        action()
    except la.LightAdaptError as error:
        return str(error)
    return ""


def data_parallel(folder: Path, models: Path, rank: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (_, _, records) in TASKS.items():
        adapted = make(models, name)
        found[name] = learn(adapted, records) | {"digest": digest(adapted)}

    # What each process infers, and writes.
    inferred: list[int] = []
    written: list[str] = []
    infer, write = Classification.infer, checkpoint.write_artifact
    Classification.infer = lambda self, model, features, view: (
        inferred.extend(feature.example for feature in features) or infer(self, model, features, view)
    )
    checkpoint.write_artifact = lambda path, **parts: written.append(Path(path).name) or write(path, **parts)
    inference.BATCH_TOKENS = 64
    adapted = make(models, "balanced")
    found["shared"] = learn(adapted, RECORDS, validation=HELD_OUT, epochs=1) | {"inferred": list(inferred)}
    inferred.clear()
    found["scores"] = adapted.evaluate(HELD_OUT)
    found["alone"] = list(inferred)
    if rank == 0:  # as scripts do; the other process does not come along
        found["said"] = adapted.predict([record["text"] for record in HELD_OUT])
        adapted.save(folder / "by-main")
    written.clear()
    adapted.save(folder / "by-all")
    found["written"] = list(written)
    found["loaded"] = digest(la.load(folder / "by-all")) == digest(adapted)
    found["not written"] = refusal(lambda: adapted.save(folder))

    # A run that is broken off in its second epoch, and goes on.
    kept = folder / "checkpoints"
    whole, first, second = (make(models, "balanced") for _ in range(3))
    steps = learn(whole, RECORDS)["steps"]
    learn(first, RECORDS, output_dir=kept, callbacks=[StopAt(steps - 2)])
    found["resumed"] = learn(second, RECORDS, output_dir=kept, resume=True)
    found["same"] = digest(second) == digest(whole)
    found["checkpoints"] = sorted(path.name for path in kept.iterdir())

    stopped = make(models, "balanced")
    found["early"] = learn(stopped, RECORDS, epochs=6, early_stopping=1)["steps"], digest(stopped)
    found["elsewhere"] = refusal(lambda: learn(make(models, "balanced"), RECORDS, output_dir=folder / f"of-{rank}"))
    found["too few"] = refusal(lambda: learn(make(models, "balanced"), RECORDS[:1], validation=None))
    return found


def sharded(folder: Path, models: Path, rank: int) -> dict[str, Any]:
    shard_on_cpu()
    found: dict[str, Any] = {}
    texts = [record["text"] for record in HELD_OUT]
    for name in ("balanced", "texts"):
        adapted = make(models, name)
        found[name] = learn(adapted, TASKS[name][2])
        parts = [parameter for parameter in adapted.model.parameters() if hasattr(parameter, "placements")]
        said, scores = adapted.predict(texts), adapted.evaluate(TASKS[name][2][:9])
        adapted.save(folder / name)
        again = la.load(folder / name)
        found[name] |= {
            "in parts": sum(part.numel() for part in parts) == sum(each.numel() for each in adapted.model.parameters()),
            "digest": digest(adapted),
            "same": again.predict(texts) == said and again.evaluate(TASKS[name][2][:9]) == scores,
            "merge": refusal(adapted.merge),
        }
    kept = folder / "checkpoints"
    first, second = (make(models, "balanced") for _ in range(2))
    learn(first, RECORDS, output_dir=kept, callbacks=[StopAt(found["balanced"]["steps"] - 2)])
    learn(second, RECORDS, output_dir=kept, resume=True)
    found["resumed"] = digest(second)
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
    found = {"data_parallel": data_parallel, "sharded": sharded}[which](folder, models, rank)
    (folder / f"{which}-{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
