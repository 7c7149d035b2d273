"""Ctrl-C and SIGTERM end a run at the end of a step, with a checkpoint; and checkpoints by the clock."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lightadapt.machine.processes import from_main, number_of_processes

DEFAULTS: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""The signals that are waited for, and what Python does with them; handlers of others stay."""


class Interrupts(TrainerCallback):
    """Ends a run at the end of the step in which a signal came; a second one ends it at once.

    Attributes:
        saves: whether a checkpoint is saved then.
        came: the signal that came; None: none has.
    """

    def __init__(self, *, saves: bool) -> None:
        self.saves = saves
        self.came: int | None = None
        self._process = os.getpid()

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """The time in which signals are waited for: in the main thread only, and where one process trains."""
        if threading.current_thread() is not threading.main_thread() or number_of_processes() > 1:
            yield
            return
        mine = [number for number, default in DEFAULTS.items() if signal.getsignal(number) == default]
        for number in mine:
            signal.signal(number, self._note)
        try:
            yield
        finally:
            for number in mine:
                signal.signal(number, DEFAULTS[signal.Signals(number)])

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a process that loads data, forked off this one, which tells it to end
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        if self.came is not None:
            self.leave()
        self.came = number
        os.write(2, b"\nThe run ends after this step. A second signal ends it at once.\n")

    def leave(self) -> None:
        """End as the signal that came is to end the process.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            SystemExit: after SIGTERM.
        """
        if self.came == signal.SIGINT:
            raise KeyboardInterrupt
        if self.came is not None:
            raise SystemExit(128 + self.came)

    def tell(self, state: TrainerState, saved: str, weights: str) -> None:
        """Say in one line where the run ended, what goes on from there, and whose weights the model has."""
        name = signal.Signals(self.came or signal.SIGINT).name
        way = (
            f"{saved} is kept, and the same call with resume=True goes on from there"
            if saved
            else "nothing is kept to go on from, since there is no output_dir"
        )
        print(
            f"fit was ended by {name} at step {state.global_step} of {state.max_steps}: {way}. {weights}",
            file=sys.stderr,
            flush=True,
        )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.came is None:
            return
        control.should_training_stop = True
        if not (ends_epoch(state) and args.save_strategy == "epoch"):
            control.should_save = control.should_save or self.saves

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.came is not None and not ends_epoch(state):  # Trainer comes by here, wherever it is stopped
            control.should_save = control.should_evaluate = False

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.came is not None:
            control.should_training_stop = True
            control.should_save = control.should_save or self.saves


class SaveByClock(TrainerCallback):
    """Saves a checkpoint when the last one is so many minutes old, at the end of a step."""

    def __init__(self, minutes: float) -> None:
        self.seconds = 60 * minutes
        self.last = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.last = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if ends_epoch(state) and args.save_strategy == "epoch":
            return
        late = time.monotonic() - self.last >= self.seconds
        if args.world_size > 1:  # all have to save together, and asking at every step would take its time
            late = state.global_step % max(1, int(state.logging_steps or 1)) == 0 and from_main(late)
        if late:
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.last = time.monotonic()


def ends_epoch(state: TrainerState) -> bool:
    """Whether this is the last step of an epoch, after which Trainer evaluates and saves by itself."""
    return float(state.epoch or 0).is_integer()
