"""How a run that fails leaves the model: with the best weights that it had, or the last that were finite."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightadapt.adaptation.history import History
from lightadapt.machine.processes import number_of_processes
from lightadapt.training.checkpoints import newest_first, why_incomplete
from lightadapt.training.trainer import AdaptTrainer


def best_checkpoint(trainer: AdaptTrainer) -> Path | None:
    """The checkpoint of the best evaluation so far; None when there was none, or its weights are not wanted."""
    best = trainer.state.best_model_checkpoint if trainer.args.load_best_model_at_end else None
    return Path(best) if best else None


def give_up(trainer: AdaptTrainer) -> tuple[str, bool]:
    """Put the best weights back, or finite ones; a sentence that says whose they are, and whether they are the best.

    Where several processes train nothing is put back, since the others need not have failed.
    """
    if number_of_processes() > 1:
        return "", False
    best = best_checkpoint(trainer)
    if best is not None and _load(trainer, best):
        return describe_weights(trainer), True
    if not trainer.watch.is_spoilt:
        return f"The model has the weights of step {trainer.state.global_step}.", False
    for path in newest_first(Path(str(trainer.args.output_dir))):
        if not why_incomplete(path) and _load(trainer, path):
            return f"The model has the weights of {path.name}, the last that were saved.", False
    if trainer.watch.kept_step is not None:
        trainer.watch.put_back()
        return (
            f"The model has the weights of step {trainer.watch.kept_step}, the last that were seen to be finite.",
            False,
        )
    return "Its weights are spoilt: start again from adapt(…) or load(…), or with output_dir=… and resume=True.", False


def describe_weights(trainer: AdaptTrainer) -> str:
    """The sentence that says whose weights the model has, when it has the best that there are."""
    if best_checkpoint(trainer) is None:
        return f"The model has the weights of step {trainer.state.global_step}."
    return f"The model has the weights of the best evaluation so far, at step {trainer.state.best_global_step}."


def history_of(trainer: AdaptTrainer, *, best: bool, **facts: Any) -> History:
    """The record of a run up to now, with its best evaluation where the model has the weights of it."""
    history = trainer.history(**facts)
    return history if best else replace(history, best=None)


def _load(trainer: AdaptTrainer, path: Path) -> bool:
    with suppress(OSError, RuntimeError, ValueError):  # what the run failed with is what is to be told
        trainer.job.load(path)
        return True
    return False
