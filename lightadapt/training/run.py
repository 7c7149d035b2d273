"""One training run: settings and parts come in, a history goes out."""

from __future__ import annotations

import math
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import distributed
from transformers import TrainerCallback, TrainingArguments

from lightadapt.adaptation.history import History
from lightadapt.errors import LightAdaptError
from lightadapt.machine.pages import pages_kept
from lightadapt.machine.processes import from_main, gather, rank
from lightadapt.training import recomputing
from lightadapt.training.alone import alone_in
from lightadapt.training.arguments import training_arguments
from lightadapt.training.batching import batches_a_step, count_batches
from lightadapt.training.callbacks import (
    BeforeStep,
    EarlyStopping,
    FindBest,
    NoInputGradients,
    PeakMemory,
)
from lightadapt.training.checkpoints import path_of
from lightadapt.training.compiling import check_compile, compiled, not_compiled
from lightadapt.training.ending import describe_weights, give_up, history_of
from lightadapt.training.finite import NotFiniteError
from lightadapt.training.interrupts import Interrupts, SaveByClock
from lightadapt.training.job import Job
from lightadapt.training.offers import check_metric, check_offers
from lightadapt.training.progress import progress_of
from lightadapt.training.recipe import STANDARD, Recipe
from lightadapt.training.settings import Settings
from lightadapt.training.trainer import AdaptTrainer
from lightadapt.training.trunk_cache import TrunkCache


@contextmanager
def _working_folder(folder: Path | None) -> Iterator[str]:
    """The folder for checkpoints: the user's, or one that all processes share until the run ends."""
    if folder is not None:
        yield str(folder)
        return
    state = PartialState()
    name = [tempfile.mkdtemp(prefix="lightadapt-") if state.is_main_process else None]
    broadcast_object_list(name)
    try:
        yield str(name[0])
        state.wait_for_everyone()  # not after an error, which the others need not have met
    finally:
        if state.is_main_process:
            shutil.rmtree(str(name[0]), ignore_errors=True)


def _check_shared(folder: str) -> None:
    """Raise in all processes when one of them does not see what the main one writes into its folder."""
    name = from_main(f".seen-by-all-{uuid4().hex}")
    main = from_main(folder)
    if rank() == 0:
        Path(folder, name).touch()
    distributed.barrier()
    blind = gather([] if Path(folder, name).exists() else [f"{rank()} on {platform.node()}"])
    if rank() == 0:
        Path(folder, name).unlink()
    if blind:
        raise LightAdaptError(
            f"Process {blind[0]} does not see the folder {main} of the main process, in which checkpoints are kept. "
            "Give all processes the same output_dir=…, on a file system that all machines share."
        )


@dataclass(frozen=True, kw_only=True)
class Run:
    """A job with settings; nothing happens before `train`."""

    job: Job
    settings: Settings
    title: str
    """Stands before the progress bar."""
    call: str = "fit"
    """What it is a part of; any other than `fit` puts the model back when it does not end well."""
    default_rates: tuple[float, float]
    """Learning rate of the method, and of the head; a given rate keeps their ratio."""
    seed: int
    recipe: Recipe = STANDARD

    @cached_property
    def used(self) -> dict[str, Any]:
        """The settings as they are used."""
        budget = self.settings.budget(self.recipe, self.job.tokens, len(self.job.features))
        rate, head_rate = self.default_rates
        scale = (self.settings.learning_rate or rate) / rate
        per_epoch = self._steps_per_epoch(budget)
        epochs = self._max_steps / per_epoch if self._max_steps else self.settings.passes(self.recipe, per_epoch)
        return {
            "recipe": self.recipe.name,
            "epochs": float(epochs),
            "learning_rate": rate * scale,
            "head_learning_rate": self.settings.head_learning_rate or head_rate * scale,
            "batch_tokens": budget,
            "seed": self.settings.others.get("seed", self.seed),
            "optimizer": self.settings.optimizer,
            **({"gradient_accumulation_steps": self._accumulated} if self._accumulated > 1 else {}),
            **({"processes": self._processes} if self._processes > 1 else {}),
        }

    @cached_property
    def _processes(self) -> int:
        """How many processes take part, which join here if they have not before."""
        return int(PartialState(cpu=self.job.model.device.type == "cpu").num_processes)

    @property
    def _accumulated(self) -> int:
        """Batches of a process that make one step."""
        return int(self.settings.others.get("gradient_accumulation_steps", 1))

    @property
    def _max_steps(self) -> int:
        """Steps of the run, whatever its epochs; 0: the epochs count."""
        return max(0, int(self.settings.others.get("max_steps", 0)))

    @property
    def _steps(self) -> int:
        """Steps of the whole run."""
        return self._max_steps or round(self.used["epochs"] * self._steps_per_epoch(self.used["batch_tokens"]))

    def _steps_per_epoch(self, budget: int) -> int:
        """The steps of the optimizer, each of one batch or more in every process."""
        step = batches_a_step(len(self.job.features), self._processes, self._accumulated)
        batches = count_batches(self.job.lengths, budget, step)
        return math.ceil(batches / (self._processes * self._accumulated))

    def check(self) -> None:
        """Refuse what the settings ask for and this job cannot have, as far as it can be told without a batch.

        Raises:
            LightAdaptError: the reason, and the way out.
        """
        arguments = self._arguments(tempfile.gettempdir())
        check_offers(arguments, self.job.model, self._steps)
        if self.settings.early_stopping and arguments.eval_strategy == "no":
            raise LightAdaptError("early_stopping needs evaluations, and args holds eval_strategy='no'. Leave one out.")
        if self.settings.compiles is not None:
            check_compile(self.settings.compiles)
        reason = self._why_no_cache
        if self.settings.cache not in (False, "auto") and reason:
            raise LightAdaptError(
                f"cache={self.settings.cache!r}: {reason}, for which there is no cache. Leave cache out."
            )

    def train(self, callbacks: Sequence[Any], keep: Callable[[History, bool], None]) -> None:
        """Train the model; with validation data it ends with the weights of the best evaluation.

        Args:
            keep: takes the record of the run, and whether it came to its end; also of one that is interrupted or fails.
        """
        metric = self.settings.others.get("metric_for_best_model")
        if metric and self.job.validation is not None:
            check_metric(str(metric), self.job.validation.names())
        interrupts = Interrupts(saves=self.settings.folder is not None)
        with _working_folder(self.settings.folder) as output_dir, ExitStack() as taken:
            arguments = self._arguments(output_dir)
            taken.enter_context(alone_in(self.settings, main=arguments.process_index == 0))
            if self.job.model.device.type == "cpu":
                taken.enter_context(pages_kept())
            if arguments.world_size > 1 and arguments.save_strategy != "no" and not arguments.save_on_each_node:
                _check_shared(output_dir)
            start, memory, cache = time.perf_counter(), PeakMemory(), self._cache(Path(output_dir))
            trainer = self._trainer(arguments, cache, [memory, interrupts, *self._watchers(arguments), *callbacks])

            def tell(*, best: bool, ended: bool) -> None:
                facts = {"memory": memory.bytes, "seconds": time.perf_counter() - start, "settings": self._told(cache)}
                keep(history_of(trainer, best=best, **facts), ended)

            try:
                self._run(trainer, interrupts, cache)
            except BaseException as error:
                state, best = give_up(trainer)
                if state:
                    tell(best=best, ended=False)
                if isinstance(error, NotFiniteError):
                    raise NotFiniteError(f"{error} {self._left(state)}") from None
                raise
            tell(best=True, ended=interrupts.came is None)
            if interrupts.came is not None:
                last = path_of(Path(output_dir), trainer.state.global_step)
                saved, left = str(last) if self.settings.folder else "", self._left(describe_weights(trainer))
                interrupts.tell(trainer.state, self.call, saved, left)
                interrupts.leave(interrupts.came)

    def _left(self, weights: str) -> str:
        """The sentence that says what the model is when the run did not come to its end."""
        return weights if self.call == "fit" else "The model is as it was before."

    def _run(self, trainer: AdaptTrainer, interrupts: Interrupts, cache: TrunkCache | None) -> None:
        """Trainer's loop, after which the model is as it was but for the weights."""
        checkpoint, recomputed = self.settings.checkpoint, recomputing.is_on(self.job.model)
        try:
            with compiled(self.job.blocks, self.settings.compiles), interrupts.awaited():
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        finally:
            # Mixed precision wraps the forward, which would stay in the model's predictions and copies.
            trainer.accelerator.unwrap_model(self.job.model, keep_fp32_wrapper=False)
            if recomputing.is_asked(trainer.args) and not recomputed:  # the next run may not ask for it
                recomputing.switch_off(self.job.model)
            self.job.model.eval()
            if cache is not None:
                cache.close()

    def _trainer(
        self, arguments: TrainingArguments, cache: TrunkCache | None, callbacks: Sequence[Any]
    ) -> AdaptTrainer:
        """The trainer, set up."""
        try:
            return AdaptTrainer(
                self.job,
                arguments,
                batch_tokens=self.used["batch_tokens"],
                head_rate=self.used["head_learning_rate"],
                score=self._score,
                cache=cache,
                given_folder=self.settings.folder is not None,
                callbacks=callbacks,
            )
        except LightAdaptError:
            raise
        except (ImportError, OSError, TypeError, ValueError) as error:
            raise LightAdaptError(f"Trainer does not accept these arguments: {error}") from error

    def _told(self, cache: TrunkCache | None) -> dict[str, Any]:
        """The settings as they were used, as the history has them."""
        used = {**self.used, "cached_blocks": cache.cached_blocks if cache is not None else 0}
        return {**used, "not_cached": cache.reason} if cache is not None and cache.reason else used

    def _arguments(self, output_dir: str) -> TrainingArguments:
        """Trainer's arguments."""
        validation = self.job.validation
        return training_arguments(
            self.settings,
            self.job.model,
            trains_base=self.job.trains_base,
            output_dir=output_dir,
            epochs=self.used["epochs"],
            steps=self._steps,
            evaluations=self.recipe.evaluations,
            learning_rate=self.used["learning_rate"],
            headline=validation.headline if validation else None,
            greater_is_better=validation is None or validation.greater_is_better,
            seed=self.seed,
        )

    def _watchers(self, arguments: TrainingArguments) -> Iterator[TrainerCallback]:
        """The callbacks that stop a run, correct what Trainer does, and show its progress."""
        yield BeforeStep(self.job.before_step)
        if self.settings.checkpoint:
            yield FindBest()
        if self.settings.folder is not None and self.settings.save_minutes is not None:
            yield SaveByClock(self.settings.save_minutes)
        if not self.settings.others.get("disable_tqdm"):
            yield progress_of(
                self.title, tokens_a_step=self.job.tokens / self._steps_per_epoch(self.used["batch_tokens"])
            )
        if not recomputing.options(arguments).get("use_reentrant"):
            yield NoInputGradients()
        if self.settings.early_stopping:
            yield EarlyStopping(self.settings.early_stopping)

    def _cache(self, folder: Path) -> TrunkCache | None:
        """What keeps hidden states over the epochs; None when it cannot, or there is no second epoch."""
        wanted = self.settings.cache
        if not wanted or not self.job.first_stack or self._why_no_cache:
            return None
        if wanted == "auto" and self.used["epochs"] <= 1:
            return None
        return TrunkCache(
            self.job.first_stack,
            self.job.lengths,
            folder=folder,
            dtype=torch.bfloat16 if wanted == "bf16" else None,
            required=wanted != "auto",
        )

    @property
    def _why_no_cache(self) -> str:
        """Why hidden states cannot be kept, as far as it can be told before the first batch; else an empty text."""
        reasons = {
            "several processes train": self._processes > 1,
            "this model has no single list of blocks": not self.job.first_stack,
            "its blocks are compiled": self.settings.compiles is not None,
        }
        return next((text for text, holds in reasons.items() if holds), "")

    @property
    def _score(self) -> Callable[[], dict[str, float]] | None:
        """What computes the validation metrics inside the run."""
        if self.job.validation is None:
            return None
        score = self.job.validation.score
        return score if self.settings.compiles is None else not_compiled()(score)
