"""How far a run is: a bar on a screen, and a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

SECONDS_A_LINE = 20.0
"""Between two lines in a log, at least."""


def progress_of(title: str, *, tokens_a_step: float) -> TrainerCallback:
    """What shows the progress of a run: a bar where somebody looks on, else lines."""
    on_screen = sys.stderr.isatty() or "ipykernel" in sys.modules
    return ProgressBar(title, tokens_a_step) if on_screen else ProgressLines(title, tokens_a_step)


class Progress(TrainerCallback):
    """What any display of progress knows of a run."""

    def __init__(self, title: str, tokens_a_step: float) -> None:
        self.title = title
        self.tokens_a_step = tokens_a_step
        self.loss = ""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if logs and "loss" in logs:
            self.loss = f"loss {logs['loss']:.4f}"


class ProgressBar(Progress):
    """One bar for the run with its rate and the time left, and a line with the scores at each evaluation."""

    def __init__(self, title: str, tokens_a_step: float) -> None:
        super().__init__(title, tokens_a_step)
        self.bar: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc=self.title, unit="step")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.bar is None:
            return
        rate = (state.global_step - self.bar.initial) / max(self.bar.format_dict["elapsed"], 1e-3)
        parts = [f"{rate * self.tokens_a_step:,.0f} tokens/s", self.loss]
        self.bar.set_postfix_str(", ".join(filter(None, parts)), refresh=False)
        self.bar.update(state.global_step - self.bar.n)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if self.bar is not None and metrics:
            self.bar.write(scores_in_a_line(state.epoch, metrics), file=sys.stderr)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class ProgressLines(Progress):
    """A line at the start and at each evaluation, and between them one every twenty seconds at most, on stderr."""

    def __init__(self, title: str, tokens_a_step: float) -> None:
        super().__init__(title, tokens_a_step)
        self._began = self._last = time.monotonic()
        self._first_step = 0
        self._speaks = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._speaks = bool(state.is_world_process_zero)
        self._say(f"{self.title}: {state.max_steps:,} steps of about {self.tokens_a_step:,.0f} tokens")
        self._began = self._last = time.monotonic()
        self._first_step = state.global_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        now = time.monotonic()
        if now - self._last < SECONDS_A_LINE:
            return
        self._last = now
        rate = (state.global_step - self._first_step) / (now - self._began)
        left = (state.max_steps - state.global_step) / rate
        parts = [f"{rate * self.tokens_a_step:,.0f} tokens/s", self.loss, f"{duration(left)} left"]
        self._say(f"{self.title}: step {state.global_step:,} of {state.max_steps:,}, {', '.join(filter(None, parts))}")

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if metrics:
            self._say(f"{self.title}: {scores_in_a_line(state.epoch, metrics)}")

    def _say(self, line: str) -> None:
        if self._speaks:
            print(line, file=sys.stderr, flush=True)


def scores_in_a_line(epoch: float | None, metrics: Mapping[str, float]) -> str:
    """The scores of an evaluation.

    >>> scores_in_a_line(2.0, {"eval_f1": 0.87312, "eval_recall": 0.9})
    'epoch 2: f1 0.8731, recall 0.9000'
    """
    shown = ", ".join(f"{name.removeprefix('eval_')} {value:.4f}" for name, value in metrics.items())
    return f"epoch {round(epoch or 0, 2):g}: {shown}"


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(48), duration(130), duration(2 * 3600 + 300)
    ('48 s', '2 min 10 s', '2 h 5 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
