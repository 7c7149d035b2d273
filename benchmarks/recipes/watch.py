"""A callback of Trainer that measures a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from measuring import Pauses
from transformers import TrainerCallback


class Watch(TrainerCallback):
    """The seconds of training, and what is predicted at the start and at so many points; predicting takes none."""

    def __init__(self, points: int) -> None:
        self.points = points
        self.predict: Callable[[], list[Any]] | None = None
        self.pauses = Pauses()
        self.curve: list[tuple[float, int, list[Any]]] = []
        self.epochs: list[float] = []
        """The seconds of each epoch."""
        self.seconds = self.cpu = 0.0
        """Seconds of training, and those of the CPU among them."""
        self.begun = 0.0
        """When training began, by `time.perf_counter`."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.begun = time.perf_counter()
        self.pauses.start()
        self.look(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Predict where a point is due."""
        step, last = state.global_step, state.max_steps
        if self.points and step < last and step * self.points // last > (step - 1) * self.points // last:
            self.look(step)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the seconds of the epoch."""
        self.epochs.append(self.pauses.read()[0] - sum(self.epochs))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop the clock and predict for the last time."""
        self.seconds, self.cpu = self.pauses.read()
        self.look(state.global_step)

    def facts(self, start: float) -> dict[str, Any]:
        """What was measured of a run that was begun at `start` (by `time.perf_counter`)."""
        set_up = self.begun - start
        times = {"set_up": set_up, "seconds": self.seconds, "cpu": self.cpu, "whole": set_up + self.seconds}
        return {**times, "epochs": self.epochs, "curve": self.curve}

    def look(self, step: int) -> None:
        """Predict the test records now."""
        if self.predict is not None and self.points:
            seconds, _ = self.pauses.read()
            with self.pauses:
                self.curve.append((seconds, step, self.predict()))
