"""One trial, which `call_apart` gives a process of its own: it trains, tells its scores on the way, and saves itself.

The job names the files of the records, the model, the task, the method, the settings of `fit`, and the study that the
scores are told to.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from lightadapt.adapted import Adapted
from lightadapt.api import adapt
from lightadapt.data import read
from lightadapt.errors import LightAdaptError
from lightadapt.experiments.tuning.store import Store
from lightadapt.methods import method_of_json
from lightadapt.tasks import task_of_json
from lightadapt.training.finite import NotFiniteError

WHOLE = 100
"""The step of Optuna at which a schedule is complete: steps count its hundredths."""
STEPS = 4
"""Steps from which it is told how long a run will take."""


class EndedError(Exception):
    """A run that is broken off; `end` says in a word why."""

    def __init__(self, end: str, reason: str = "") -> None:
        super().__init__(reason)
        self.end, self.reason = end, reason


class Watch(TrainerCallback):
    """Notes the score of each evaluation, and ends a run that is too slow, too late, or behind the others."""

    def __init__(self, job: dict[str, Any], headline: str) -> None:
        self.metric = f"eval_{headline}"
        self.started, self.deadline, self.first = job["started"], job["deadline"], job["number"] is None
        self.trial = None if self.first else Store.of_json(job["store"]).trial(job["number"])
        self.points: list[list[float]] = []
        """Of each evaluation: hundredths of the schedule, score, seconds since the trial began."""
        self.epoch = 0.0
        self._begun = self._last = time.time()
        self._scoring = 0.0
        self._parent = os.getppid()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._begun = self._last = time.time()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._last = time.time()
        self.epoch = float(state.epoch or 0)
        if os.getppid() != self._parent:
            raise EndedError("lost", "the process that began the trial is gone")
        if self.deadline is None or state.global_step >= state.max_steps:
            return
        if self._last > self.deadline:
            raise EndedError("late", "the budget was used up")
        if self.first and state.global_step >= STEPS:
            needed = self._needed(state)
            if self._last + needed > self.deadline:
                raise EndedError("too long", f"{self._last + needed - self.started:.3g}")

    def _needed(self, state: TrainerState) -> float:
        """Seconds that are left of the run, as far as it can be told from those before."""
        a_step = (self._last - self._begun - self._scoring * len(self.points)) / state.global_step
        return float(a_step * (state.max_steps - state.global_step))

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        now = time.time()
        self._scoring = now - self._last if not self.points else self._scoring
        score = float((metrics or {}).get(self.metric, math.nan))
        step = min(WHOLE, round(WHOLE * state.global_step / max(1, state.max_steps)))
        self.points.append([step, score, round(now - self.started, 2)])
        if self.trial is not None and math.isfinite(score):
            self.trial.report(score, step)
            if self.trial.should_prune():
                raise EndedError("pruned", f"behind the others at {step} % of its schedule")


def run_trial(job: dict[str, Any]) -> dict[str, Any]:
    """What came of a trial, as JSON holds it: how it ended, its scores, and how long it took."""
    task = task_of_json(job["task"], job["task"]["labels"])
    watch = Watch(job, task.headline)
    found: dict[str, Any]
    start = time.time()
    try:
        adapted = adapt(
            job["model"],
            task,
            method_of_json(job["method"]),
            layers=job["layers"],
            device=job["device"],
            seed=job["seed"],
        )
        start = time.time()
        train, validation = (read(job[part]).items for part in ("train", "validation"))
        args = {"disable_tqdm": True, **job["args"]}
        adapted.fit(train, validation, callbacks=[watch], args=args, **job["fit"])
    except EndedError as error:
        found = {"end": error.end, "reason": error.reason}
    except NotFiniteError as error:
        found = {"end": "diverged", "reason": str(error)}
    except LightAdaptError as error:
        found = {"end": "refused", "reason": str(error)}
    else:
        found = _scored(adapted, task.headline)
        watch.epoch = found["used"]["epochs"]
        if found["end"] == "done" and _is_best(job, found["score"], task.greater_is_better):
            adapted.save(job["out"])
    took = {"points": watch.points, "fit_seconds": round(time.time() - start, 3), "passes": watch.epoch}
    return {**found, **took, "seconds": round(time.time() - job["started"], 3)}


def _scored(adapted: Adapted, headline: str) -> dict[str, Any]:
    """The scores of the weights that were kept, and the settings as they were used."""
    last = adapted.runner.last_run
    scores = {name: round(float(value), 6) for name, value in last.metrics.items()}
    score = scores.get(headline, math.nan)
    kept = ("recipe", "epochs", "learning_rate", "head_learning_rate", "batch_tokens")
    return {
        "end": "done" if math.isfinite(score) else "diverged",
        "reason": "" if math.isfinite(score) else f"{headline} is {score}",
        "score": score if math.isfinite(score) else None,
        "scores": scores if math.isfinite(score) else {},
        "used": {name: last.settings[name] for name in kept},
        "learns_head": bool(adapted.runner.adaptation.learned_head),
        "steps": last.settings.get("steps"),
    }


def _is_best(job: dict[str, Any], score: float, more: bool) -> bool:
    """Whether no trial before is better, so that the result is worth keeping."""
    if job["number"] is None or not Path(job["out"]).parent.is_dir():
        return True
    best = Store.of_json(job["store"]).best_score()
    return best is None or (score > best if more else score < best)
