"""Ctrl-C and SIGTERM end a run at the end of a step, with a checkpoint; and checkpoints by the clock.

Where several processes train, a signal to any of them ends all at the same step: what came is compared at the end of
every step, on the CPU, so that no GPU is waited for.
"""

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

import torch
from torch import distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lightadapt.machine.processes import from_main, number_of_processes

DEFAULTS: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""The signals that are waited for, and what Python does with them; handlers of others stay."""


class Interrupts(TrainerCallback):
    """Ends a run at the end of the step in which a signal came; a second one ends it at once.

    Attributes:
        saves: whether a checkpoint is saved then.
        came: the signal that the run ends by, the same in all processes; None: it goes on.
    """

    def __init__(self, *, saves: bool) -> None:
        self.saves = saves
        self.came: int | None = None
        self._noted: int | None = None
        """The signal that came to this process."""
        self._process = os.getpid()
        self._group: distributed.ProcessGroup | None = None

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """The time in which signals are waited for, in the main thread only; all processes have to enter it."""
        is_main = threading.current_thread() is threading.main_thread()
        mine = [number for number, default in DEFAULTS.items() if is_main and signal.getsignal(number) == default]
        self._group = distributed.new_group(backend="gloo") if number_of_processes() > 1 else None
        for number in mine:
            signal.signal(number, self._note)
        try:
            yield
            self._agree()  # and no process ends, which lets torchrun end the others, before all are through
        finally:
            for number in mine:
                signal.signal(number, DEFAULTS[signal.Signals(number)])
            if self._group is not None:
                distributed.destroy_process_group(self._group)

    def _agree(self) -> None:
        """Learn whether a signal has come to any process; all have to call this together."""
        noted = self._noted or 0
        if self._group is not None:
            highest = torch.tensor(noted)
            distributed.all_reduce(highest, distributed.ReduceOp.MAX, group=self._group)
            noted = int(highest)
        self.came = self.came or noted or None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a process that loads data, forked off this one, which tells it to end
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        if self._noted is not None:
            self.leave(self._noted)
        self._noted = number
        os.write(2, b"\nThe run ends after this step. A second signal ends it at once.\n")

    @staticmethod
    def leave(number: int) -> None:
        """End as this signal is to end the process.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            SystemExit: after SIGTERM.
        """
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    def tell(self, state: TrainerState, call: str, saved: str, weights: str) -> None:
        """Say in one line where the run ended, what goes on from there, and whose weights the model has.

        Where several processes train, the main one says it.
        """
        if not state.is_world_process_zero:
            return
        name = signal.Signals(self.came or signal.SIGINT).name
        way = (
            f"{saved} is kept, and the same call with resume=True goes on from there"
            if saved
            else "nothing is kept to go on from, since there is no output_dir"
        )
        print(
            f"{call} was ended by {name} at step {state.global_step} of {state.max_steps}: {way}. {weights}",
            file=sys.stderr,
            flush=True,
        )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._agree()
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
        self._agree()
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
