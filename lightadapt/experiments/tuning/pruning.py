"""Which trials end early: those whose scores at a checkpoint of their full schedule are behind those of others.

A trial is never run on a shorter schedule: the rate falls as it would in the full run, and a trial that ends early
is one whose run is broken off. Short runs favour rates that collapse in long ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import TrialState

from lightadapt.experiments.tuning.trial import WHOLE

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

RUNGS = (25, 50)
"""Hundredths of the schedule at which trials are compared."""
KEPT = 3
"""One of so many goes on at each rung (the eta of successive halving; Jamieson and Talwalkar 2016)."""
ENOUGH = 3
"""Trials that have to have come to a rung before one is ended there."""


class AtCheckpoints(BasePruner):
    """Successive halving without waiting (ASHA; Li et al. 2020) over hundredths of each trial's own schedule."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial is not among the best third of those that came as far as its last rung."""
        now = max(trial.intermediate_values, default=0)
        reached = [rung for rung in RUNGS if now >= rung]
        if not reached or now >= WHOLE:
            return False
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        others = [each for each in study.get_trials(deepcopy=False, states=states) if each.number != trial.number]
        more = study.direction == StudyDirection.MAXIMIZE
        scores = [_best_by(each.intermediate_values, reached[-1], more) for each in others]
        known = [score for score in scores if score is not None]
        own = _best_by(trial.intermediate_values, now, more)
        if len(known) < ENOUGH or own is None:
            return False
        better = sum(score > own if more else score < own for score in known)
        return better >= max(1, (len(known) + 1) // KEPT)


def _best_by(points: Mapping[int, float], rung: int, more: bool) -> float | None:
    """The best score up to the first checkpoint at a rung or behind it; None where the trial did not come so far."""
    later = [step for step in points if step >= rung]
    if not later:
        return None
    seen = [score for step, score in points.items() if step <= min(later)]
    return float(max(seen) if more else min(seen))
