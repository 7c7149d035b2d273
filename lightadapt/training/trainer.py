"""transformers' Trainer, with batches by tokens, the task's own evaluation, and checkpoints of what is trained."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import save_fsdp_optimizer
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments
from transformers.trainer import SCHEDULER_NAME
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_utils import rotate_checkpoints
from transformers.training_args import OptimizerNames

from lightadapt import peft_bridge
from lightadapt.adaptation.history import History
from lightadapt.errors import LightAdaptError
from lightadapt.machine.processes import gather
from lightadapt.machine.quiet import quiet
from lightadapt.training import checkpoints
from lightadapt.training.batching import ROWS, Numbered, TokenBudgetBatches, batches_a_step, collate_numbered
from lightadapt.training.callbacks import OrderOfEpoch
from lightadapt.training.counting import BatchCounts
from lightadapt.training.finite import FiniteWatch, LookAtLogs
from lightadapt.training.job import Job
from lightadapt.training.room import Room
from lightadapt.training.trunk_cache import TrunkCache


class AdaptTrainer(Trainer):
    """A thin subclass: what it changes is how batches are formed, how scores come about and what is saved."""

    def __init__(
        self,
        job: Job,
        args: TrainingArguments,
        *,
        batch_tokens: int,
        head_rate: float,
        score: Callable[[], dict[str, float]] | None,
        cache: TrunkCache | None,
        given_folder: bool,
        callbacks: Sequence[Any],
    ) -> None:
        """`head_rate` is that of the head's parameters, the others take that of `args`; `score` computes the validation
        metrics; `given_folder` says whether the user named the folder for checkpoints.
        """
        with peft_bridge.marked(job.model):
            super().__init__(
                model=job.model,
                args=args,
                train_dataset=job.features,
                eval_dataset=[] if score else None,
                data_collator=job.collate,
                callbacks=list(callbacks),
            )
        # Encoders take any keyword and ignore the count of targets: Trainer would leave the loss unscaled.
        self.model_accepts_loss_kwargs = False
        self.remove_callback(ProgressCallback)
        self.remove_callback(PrinterCallback)
        self.job = job
        self.batch_tokens = batch_tokens
        self.head_rate = head_rate
        self.score = score
        self.cache = cache
        self.given_folder = given_folder
        self.watch = FiniteWatch(job.model, job.place, args)
        self.add_callback(LookAtLogs(self.watch))
        self.room = Room(
            lambda rows: collate_numbered(job.collate, [(row, job.features[row]) for row in rows]),
            job.weigh,
            job.model.zero_grad,
            alone=args.world_size == 1,
        )
        self._set_up_sharding()
        self.counts = BatchCounts(args.device)
        self.training_seconds = 0.0
        self.last_scores: tuple[int, dict[str, float]] = (-1, {})
        # Decoders would keep the keys and values of the whole batch, copied, for a next token that nobody asks for.
        cached = "use_cache" in inspect.signature(job.model.forward).parameters
        self.constants = {"use_cache": False} if cached else {}

    def _set_up_sharding(self) -> None:
        """Cut the model into its blocks where each process is to hold a part, unless the user says otherwise.

        Raises:
            LightAdaptError: the kind of parts is one that cannot be saved or predicted with.
        """
        if self.is_deepspeed_enabled and self.accelerator.state.deepspeed_plugin.zero_stage == 3:
            raise LightAdaptError(
                "DeepSpeed's ZeRO-3 takes the weights apart. Use stage 2, or FSDP with fsdp_version: 2."
            )
        if not self.is_fsdp_enabled:
            return
        plugin = self.accelerator.state.fsdp_plugin
        if plugin.fsdp_version != 2:
            raise LightAdaptError(
                "FSDP of version 1 is not supported. Set fsdp_version: 2 in the config of accelerate."
            )
        if plugin.transformer_cls_names_to_wrap is None:  # transformers' own list may name a part of another
            plugin.transformer_cls_names_to_wrap = sorted({type(block).__name__ for block in self.job.blocks})

    def get_train_dataloader(self) -> DataLoader[Any]:
        batches = TokenBudgetBatches(
            self.job.lengths,
            batch_tokens=self.batch_tokens,
            seed=self.args.data_seed if self.args.data_seed is not None else self.args.seed,
            multiple_of=batches_a_step(
                len(self.job.lengths),
                self.args.world_size,
                self.args.gradient_accumulation_steps,
            ),
        )
        self.add_callback(OrderOfEpoch(batches))
        loader: DataLoader[Any] = DataLoader(
            Numbered(self.train_dataset),  # type: ignore[arg-type]
            batch_sampler=batches,
            collate_fn=partial(collate_numbered, self.data_collator),
            num_workers=self.args.dataloader_num_workers,
            prefetch_factor=self.args.dataloader_prefetch_factor,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Trainer's optimizer, with the head's parameters in groups of their own rate."""
        try:
            optimizer = super().create_optimizer(model)
        except ImportError as error:
            name = OptimizerNames(self.args.optim).value
            raise LightAdaptError(f"The optimizer {name} cannot be used here: {error}") from error
        if self.head_rate == self.args.learning_rate:
            return optimizer  # type: ignore[no-any-return]
        in_head = {id(p) for name, p in (model or self.model).named_parameters() if name in self.job.head}
        groups = []
        for group in optimizer.param_groups:
            rest = [p for p in group["params"] if id(p) not in in_head]
            head = [p for p in group["params"] if id(p) in in_head]
            groups += [{**group, "params": rest}, {**group, "params": head, "lr": self.head_rate}]
        optimizer.param_groups[:] = [group for group in groups if group["params"]]
        return optimizer  # type: ignore[no-any-return]

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        self.counts.note(inputs["attention_mask"])
        step = super().training_step
        loss = self.room.compute(
            inputs, num_items_in_batch, lambda batch, divisor: step(model, {**batch, **self.constants}, divisor)
        )
        self.watch.note(self.state.global_step + 1, inputs[ROWS], loss)
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        self.watch.look_at_gradient(norm)
        return norm

    def get_batch_samples(self, *args: Any) -> tuple[list[dict[str, Any]], torch.Tensor | None]:
        """The batches of a step in this process, and what a batch of the step weighs on average over all processes.

        Where a step is several batches, each counts by that, so that the gradient is that of all in one batch.
        """
        batches, _ = super().get_batch_samples(*args)
        self.room.begin()
        if not batches or self.args.world_size * len(batches) == 1:
            return batches, None
        weights = torch.stack([self.job.weigh(batch) for batch in batches]).to(self.args.device)
        return batches, self.accelerator.gather(weights).float().mean()

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], *args: Any, num_items_in_batch: Any = None, **kwargs: Any
    ) -> Any:
        """The loss of the task where it has one of its own, else the model's."""
        rows = inputs.pop(ROWS)
        own = super().compute_loss
        self.job.rest()

        def compute(batch: dict[str, Any]) -> Any:
            return self.job.objective(model, batch) if self.job.objective else own(model, dict(batch), *args, **kwargs)

        def batch_of(rows: list[int]) -> tuple[torch.Tensor, Callable[[], torch.Tensor]]:
            batch: Any = self._prepare_inputs(self.data_collator([self.train_dataset[row] for row in rows]))
            return batch["attention_mask"], partial(compute, {**batch, **self.constants})

        if self.cache is None:
            loss = compute(inputs)
        else:
            with self.cache.step(rows.tolist(), inputs["attention_mask"], partial(compute, inputs), batch_of):
                loss = compute(inputs)
        return loss if num_items_in_batch is None else loss * (self.job.weigh(inputs) / num_items_in_batch)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trainer's loop; the seconds spent in it, evaluations not included, are kept."""
        start = time.perf_counter()
        result = super().train(*args, **kwargs)
        self.training_seconds += time.perf_counter() - start
        return result

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The task's scores of the validation records, decoded as for the user."""
        assert self.score is not None
        self.watch.check(self.state.global_step)
        start = time.perf_counter()
        scores = self.score()
        self.last_scores = self.state.global_step, scores
        self.training_seconds -= time.perf_counter() - start
        metrics = {f"eval_{name}": value for name, value in scores.items()}
        self.log(dict(metrics))
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _finalize_training(self, *args: Any, **kwargs: Any) -> Any:
        self.watch.check(self.state.global_step)
        return super()._finalize_training(*args, **kwargs)

    def history(self, *, memory: int, seconds: float, settings: dict[str, Any]) -> History:
        """The record of the run, the same in all processes; `memory` in bytes, `seconds` of wall time."""
        log = self.state.log_history
        epochs = [
            {name.removeprefix("eval_"): value for name, value in entry.items()}
            for entry in log
            if any(name.startswith("eval_") for name in entry)
        ]
        counts = self.counts
        each = gather([(int(counts.real), counts.computed, self.training_seconds, seconds, memory)])
        tokens, computed, training, waited, peaks = zip(*each, strict=True)
        real, longest = sum(tokens), max(training)
        return History(
            losses=[(entry["step"], entry["loss"]) for entry in log if "loss" in entry],
            epochs=epochs,
            best=next((entry for entry in epochs if entry["step"] == self.state.best_global_step), None)
            if self.args.load_best_model_at_end
            else None,
            steps=self.state.global_step,
            seconds=max(waited),
            tokens_per_second=real / longest if longest else 0.0,
            padding=1 - real / sum(computed) if sum(computed) else 0.0,
            peak_memory=max(peaks),
            settings={**settings, "batch_shapes": len(counts.shapes)},
            learning_rates=[(entry["step"], entry["learning_rate"]) for entry in log if "learning_rate" in entry],
            passes=float(self.state.epoch or 0.0),
        )

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if self.is_fsdp_enabled:
            self._save(output_dir)  # Trainer would gather the frozen weights, too
        else:
            super().save_model(output_dir, _internal_call)
        self.accelerator.wait_for_everyone()  # the others write beside it what they have of their own

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        step, scores = self.last_scores
        scores = scores if step == self.state.global_step else {}  # of these weights, or none
        self.job.save(folder, lambda write: write() if self.args.should_save else None, scores)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Trainer's, sealed when it is complete; only then older ones go."""
        self.watch.check(self.state.global_step)
        folder, limit = Path(self.args.output_dir), self.args.save_total_limit
        target = checkpoints.path_of(folder, self.state.global_step)
        self.args.save_total_limit = None
        try:
            with checkpoints.writing(target, given=self.given_folder, main=self.args.should_save):
                self.accelerator.wait_for_everyone()
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()
                if self.args.should_save:
                    checkpoints.seal(target)
        finally:
            self.args.save_total_limit = limit
        if self.args.should_save:
            with quiet():  # that checkpoints of a short run are of one second is nothing to be told of
                rotate_checkpoints(str(folder), limit, self.state.best_model_checkpoint, use_mtime=True)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        # Trainer would write the frozen weights, too.
        save_fsdp_optimizer(
            self.accelerator.state.fsdp_plugin, self.accelerator, self.optimizer, self.model, output_dir
        )
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir, SCHEDULER_NAME))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self.job.load(Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        assert self.state.best_model_checkpoint is not None
        self.job.load(Path(self.state.best_model_checkpoint))
