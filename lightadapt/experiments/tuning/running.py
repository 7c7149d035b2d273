"""The trials of a search, one after another or several at a time, until there are enough or the time is up."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from lightadapt.errors import LightAdaptError
from lightadapt.experiments.tuning.budget import Clock, as_time
from lightadapt.experiments.tuning.inputs import Given
from lightadapt.experiments.tuning.results import Trial, trials_of
from lightadapt.experiments.tuning.space import Found, Space, make_space
from lightadapt.experiments.tuning.starting import run_apart
from lightadapt.experiments.tuning.store import SPENT, Store, has_died, quiet_optuna, this_process

if TYPE_CHECKING:
    import optuna

FOUND = "default trial"
"""Under which a study keeps what the default trial was."""
ASKED = 20
"""Settings that are asked for before it is said that none can be tried in the time that is left."""
BROKEN = 3
"""Processes that die one after another, with which a search ends."""


@dataclass
class Search:
    """A search that goes on."""

    given: Given
    store: Store
    study: optuna.Study
    clock: Clock
    most: int | None
    """Trials; None: as many as there is time for."""
    records: Path
    """The folder with the files of records."""
    on_trial: Callable[[Trial], None] | None = None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._session = f"{SPENT}{this_process()}:{uuid4().hex[:8]}"
        self._broken = 0

    def run(self) -> None:
        """Run trials until there are enough of them, or no further one can end in time.

        Raises:
            LightAdaptError: the default setting cannot be trained, or not in this time.
        """
        try:
            self._bury()
            if FOUND not in self.study.user_attrs:
                self._run_default()
            found = Found(**self.study.user_attrs[FOUND])
            given = self.given
            space = make_space(given.methods, given.asked, found, uneven=given.uneven, refuses=given.refuses)
            if len(given.devices) == 1:
                self._work(space, given.devices[0])
            else:
                with ThreadPoolExecutor(len(given.devices)) as pool:
                    for work in [pool.submit(self._work, space, device) for device in given.devices]:
                        work.result()
        finally:
            self._note_time()

    def _train(self, space: Space, settings: Mapping[str, Any], number: int | None, device: str) -> dict[str, Any]:
        return run_apart(
            self.given,
            space.method_of(settings),
            settings,
            number=number,
            device=device,
            store=self.store,
            clock=self.clock,
            records=self.records,
        )

    def _bury(self) -> None:
        """Trials of processes that are gone are given up, and their settings will be tried again."""
        from optuna.trial import TrialState

        for each in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if has_died(each.user_attrs.get("process")):
                self._give_up(each.number, each.params)

    def _give_up(self, number: int, params: Mapping[str, Any]) -> None:
        from optuna.trial import TrialState

        self.study.tell(number, state=TrialState.FAIL)
        self.study.enqueue_trial(dict(params))

    def _note_time(self) -> None:
        self.study.set_user_attr(self._session, round(self.clock.passed - self.clock.spent, 2))

    # ---- the default

    def _run_default(self) -> None:
        """The trial with the default settings, which tells how long a run takes and where ranges have their middle."""
        settings = self.given.fixed_of(next(iter(self.given.methods)))
        result = self._train(Space(self.given.methods, ()), settings, None, self.given.devices[0])
        if result["end"] != "done":
            raise LightAdaptError(self._why_no_default(result))
        found = Found(**result["used"], learns_head=result["learns_head"])
        self.study.set_user_attr(FOUND, asdict(found))
        space = make_space(
            self.given.methods, self.given.asked, found, uneven=self.given.uneven, refuses=self.given.refuses
        )
        whole = {**self._defaults(space, found), **settings}
        self._add_default(space, whole, result)

    def _why_no_default(self, result: Mapping[str, Any]) -> str:
        budget = as_time(self.clock.budget or 0)
        if result["end"] == "too long":
            return (
                f"budget={budget} is too small for one run: with the default settings it takes about "
                f"{as_time(float(result['reason']))}. Give more time, fewer epochs (search={{'epochs': [1]}}), or "
                "fewer records."
            )
        if result["end"] == "late" or (self.clock.left <= 0 and self.clock.budget is not None):
            return (
                f"budget={budget} is too small for one run: it was used up before the run with the default settings "
                "came to its end. Give more time, fewer epochs (search={'epochs': [1]}), or fewer records."
            )
        return f"The run with the default settings {result['end']}: {result['reason']}"

    def _defaults(self, space: Space, found: Found) -> dict[str, Any]:
        """The default value of each setting that is searched, where it is known."""
        method = space.methods[space.default]
        own = {key: getattr(method, key.removeprefix("method.")) for key in _keys(space, "method.")}
        task = self.given.task.settings()
        return {**found.settings, **own, **{key: task[key.removeprefix("task.")] for key in _keys(space, "task.")}}

    def _add_default(self, space: Space, settings: dict[str, Any], result: Mapping[str, Any]) -> None:
        import optuna

        searched = ["method", *(each.key for each in space.of(space.default))]
        kept = {key: settings[key] for key in searched if key in settings}
        params, distributions = space.place(kept)
        trial = optuna.trial.create_trial(
            value=result["score"],
            params=params,
            distributions=distributions,
            intermediate_values={int(step): score for step, score, _ in result["points"]},
            user_attrs={**_kept(kept, result), "default": True},
        )
        self.study.add_trial(trial)
        self._tell_user()

    # ---- the others

    def _work(self, space: Space, device: str) -> None:
        """Trials on one device, until there are enough."""
        while True:
            with self._lock:
                asked = self._ask(space)
            if asked is None:
                return
            trial, settings = asked
            try:
                result = self._train(space, settings, trial.number, device)
            except BaseException:
                with self._lock:
                    self._give_up(trial.number, trial.params)
                raise
            with self._lock:
                self._tell(trial, settings, result)

    def _ask(self, space: Space) -> tuple[optuna.Trial, dict[str, Any]] | None:
        """A trial that can end in the time that is left; None when there are enough, or there is no time."""
        from optuna.trial import TrialState

        if self._broken >= BROKEN or (self.most is not None and self._count() >= self.most):
            return None
        if self._shortest(space) > self.clock.left:
            return None
        for _ in range(ASKED):
            with quiet_optuna():
                trial = self.study.ask()
                trial.set_user_attr("process", this_process())
                settings = space.suggest(trial)
            if self._expected(settings) <= self.clock.left:
                return trial, settings
            self.study.tell(trial, state=TrialState.FAIL)
        return None

    def _count(self) -> int:
        """Trials that run or have run to some end; those that were given up before are not among them."""
        from optuna.trial import TrialState

        every = self.study.get_trials(deepcopy=False)
        return sum("end" in each.user_attrs or each.state == TrialState.RUNNING for each in every)

    def _tell(self, trial: optuna.Trial, settings: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        from optuna.trial import TrialState

        for name, value in _kept(settings, result).items():
            trial.set_user_attr(name, value)
        if result["end"] == "done":
            self.study.tell(trial, result["score"])
        else:
            ran = result["end"] in ("pruned", "late", "diverged")
            self.study.tell(trial, state=TrialState.PRUNED if ran else TrialState.FAIL)
        self._broken = self._broken + 1 if result["end"] == "failed" else 0
        self._tell_user()

    def _tell_user(self) -> None:
        """Keep what the best learned alone, and say which trial has ended."""
        self._note_time()
        trials = trials_of(self.study)
        self.store.keep_only(self.study.best_trial.number, [each.number for each in trials])
        if self.on_trial is not None:
            self.on_trial(max(trials, key=lambda each: each.ended))

    # ---- how long a trial takes

    def _expected(self, settings: Mapping[str, Any]) -> float:
        """Seconds that a trial will take, by those before: of its method where there are some."""
        known = [each for each in trials_of(self.study) if each.passes]
        same = [each for each in known if each.settings["method"] == settings["method"]]
        chosen = (same or known)[-5:]
        if not chosen:
            return 0.0
        start = max(each.seconds - each.fit_seconds for each in chosen)
        a_pass = statistics.median(each.fit_seconds / each.passes for each in chosen)
        epochs = settings.get("epochs") or self.study.user_attrs[FOUND]["epochs"]
        return float(start + a_pass * epochs)

    def _shortest(self, space: Space) -> float:
        """Seconds that the shortest trial will take."""
        ranges = [each.range for each in space.dimensions if each.key == "epochs"]
        epochs = min(min(each.ends) for each in ranges)
        return min(self._expected({"method": name, "epochs": epochs}) for name in space.methods)


def _keys(space: Space, begin: str) -> list[str]:
    return [each.key for each in space.of(space.default) if each.key.startswith(begin)]


def _kept(settings: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """What a study keeps of a trial, beside what Optuna does."""
    names = ("end", "reason", "scores", "points", "seconds", "fit_seconds", "passes", "elapsed")
    return {"settings": dict(settings), **{name: result[name] for name in names if name in result}}
