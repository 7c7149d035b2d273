"""Callbacks of a training run: peak memory, early stopping, the order of batches, and corrections to Trainer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import EarlyStoppingCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lightadapt.errors import LightAdaptError
from lightadapt.training import recomputing
from lightadapt.training.batching import TokenBudgetBatches
from lightadapt.training.checkpoints import path_of, why_incomplete


class PeakMemory(TrainerCallback):
    """The most memory seen: allocated on the GPU, else resident in this process at the end of a step."""

    def __init__(self) -> None:
        self.bytes = 0
        self.process = psutil.Process()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if args.device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated()
        else:
            self.bytes = max(self.bytes, self.process.memory_info().rss)


class OrderOfEpoch(TrainerCallback):
    """Tells the batches which epoch it is.

    Where a run is resumed in several processes, Trainer reaches only what accelerate wrapped around them.
    """

    def __init__(self, batches: TokenBudgetBatches) -> None:
        self.batches = batches

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.batches.set_epoch(int(state.epoch or 0))


class EarlyStopping(EarlyStoppingCallback):
    """Trainer's, which goes on counting when a run is resumed."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        if state.best_global_step:
            name = str(args.metric_for_best_model)
            later = [entry for entry in state.log_history if name in entry and entry["step"] > state.best_global_step]
            self.early_stopping_patience_counter = len(later)
            control.should_training_stop = len(later) >= self.early_stopping_patience


class FindBest(TrainerCallback):
    """Finds the best checkpoint of a resumed run, which Trainer looks for where the folder was, under its old name."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not args.load_best_model_at_end or not state.best_global_step:
            return
        best = path_of(Path(str(args.output_dir)), state.best_global_step)
        damage = why_incomplete(best) if best.is_dir() else ""
        if damage or not best.is_dir():
            raise LightAdaptError(
                f"{best}, the best checkpoint of the run that is resumed, is {'damaged' if damage else 'not there'}"
                f"{damage and f' ({damage})'}. Put it back, or start afresh in another folder."
            )
        state.best_model_checkpoint = str(best)


class BeforeStep(TrainerCallback):
    """Calls something when the gradients of a step are there."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.action = action

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.action()


class NoInputGradients(TrainerCallback):
    """Lets no gradient go down to the embeddings for the sake of checkpointed blocks.

    transformers asks for it with every kind of checkpointing, and the reentrant kind alone needs it. Without it frozen
    blocks below the lowest one that learns are computed once, and never backward.
    """

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        if recomputing.is_asked(args):
            model.disable_input_require_grads()
