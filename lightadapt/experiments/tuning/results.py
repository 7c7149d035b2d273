"""What a search found: its trials, the best settings, and what the best trial learned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightadapt.api import adapt, load
from lightadapt.data import Data, Record
from lightadapt.display.figures import require_matplotlib
from lightadapt.errors import LightAdaptError
from lightadapt.experiments.tuning.store import Store, quiet_optuna
from lightadapt.methods import Method
from lightadapt.tasks import Task

if TYPE_CHECKING:
    import optuna
    from pandas import DataFrame

    from lightadapt.adapted import Adapted


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One setting that was tried."""

    number: int
    """Optuna's; numbers of trials that were never run are missing."""
    settings: Mapping[str, Any]
    """By the names that `search` has."""
    end: str
    """`done`; `pruned`: broken off, since it was behind others; `diverged`; `late`: the budget was used up; `refused`:
    the model cannot be had like this; `failed`: its process died."""
    reason: str = ""
    """Why it ended otherwise than `done`."""
    score: float | None = None
    """The headline metric on the validation data; of a trial that was broken off the best until then, None without
    one."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """All metrics, the headline first; empty unless it is done."""
    points: tuple[tuple[int, float, float], ...] = ()
    """Of each evaluation: hundredths of the schedule, score, seconds since the trial began."""
    seconds: float = 0.0
    """Wall time, loading and scoring included."""
    fit_seconds: float = 0.0
    """Wall time of `fit` alone."""
    passes: float = 0.0
    """Epochs that were run."""
    elapsed: float = 0.0
    """Seconds from the beginning of the search to the end of this trial."""
    ended: float = 0.0
    """When it ended, in seconds since 1970."""
    default: bool = False
    """Whether these are the default settings."""


def trials_of(study: optuna.Study) -> list[Trial]:
    """The trials that have ended, in the order of their numbers."""
    found = study.get_trials(deepcopy=False)
    more = study.direction.name == "MAXIMIZE"
    return [_trial_of(each, more) for each in found if "end" in each.user_attrs and each.datetime_complete]


def _trial_of(trial: optuna.trial.FrozenTrial, more: bool) -> Trial:
    kept = dict(trial.user_attrs)
    seen = [score for score in trial.intermediate_values.values() if math.isfinite(score)]
    so_far = (max(seen) if more else min(seen)) if seen and kept["end"] not in ("diverged", "refused") else None
    names = ("settings", "end", "reason", "scores", "seconds", "fit_seconds", "passes", "elapsed")
    assert trial.datetime_complete is not None
    return Trial(
        number=trial.number,
        score=trial.value if kept["end"] == "done" else so_far,
        points=tuple((int(step), float(score), float(seconds)) for step, score, seconds in kept.get("points", ())),
        ended=trial.datetime_complete.timestamp(),
        default=bool(kept.get("default")),
        **{name: kept[name] for name in names if name in kept},
    )


@dataclass(frozen=True, kw_only=True)
class Study:
    """What `tune` returns; `print` shows it as a table."""

    model: str
    task: Task
    methods: Mapping[str, Method]
    """Those that were tried, by name."""
    setting: Mapping[str, Any]
    """What was searched, and on which data."""
    trials: tuple[Trial, ...]
    store: Store
    unseen: tuple[Record, ...] = field(default=(), repr=False)
    """Validation records on which no trial was scored."""
    device: str = "auto"

    @property
    def best_trial(self) -> Trial:
        """The trial with the best score among those that are done; the first of equals."""
        done = [each for each in self.trials if each.end == "done" and each.score is not None]
        sign = 1 if self.task.greater_is_better else -1
        return max(done, key=lambda each: (sign * (each.score or 0.0), -each.number))

    @property
    def default_trial(self) -> Trial:
        """The trial with the default settings."""
        return next(each for each in self.trials if each.default)

    @property
    def score(self) -> float:
        """The best score on the validation data."""
        return float(self.best_trial.score or 0.0)

    @property
    def best(self) -> dict[str, Any]:
        """The settings of the best trial as `adapt` and `fit` take them: `method`, `learning_rate`, `epochs`, ….

        `task` and `layers` are among them where they were searched, and further arguments of Trainer are in `args`.
        """
        settings = self.best_trial.settings
        fields, of_task, args = (_below(settings, kind) for kind in ("method", "task", "args"))
        best: dict[str, Any] = {"method": replace(self.methods[settings["method"]], **fields)}
        best |= {"task": replace(self.task, **of_task)} if of_task else {}
        best |= {name: value for name, value in settings.items() if name != "method" and "." not in name}
        return {**best, "args": args} if args else best

    @cached_property
    def adapted(self) -> Adapted:
        """What the best trial learned, loaded from where it is kept.

        Raises:
            LightAdaptError: it is not there any more.
        """
        folder = self.folder
        if not folder.is_dir():
            raise LightAdaptError(f"{folder}, what the best trial learned, is not there. Train again with study.best.")
        return load(folder, base=self.model, device=self.device)

    @cached_property
    def unseen_scores(self) -> dict[str, float]:
        """What the best trial scores on records on which no trial was scored; empty where `tune` was to keep none."""
        return dict(self.adapted.evaluate(list(self.unseen))) if self.unseen else {}

    def retrain(self, train: Data, validation: Data | float | None = None, *, seed: int = 0) -> Adapted:
        """The best settings trained again, in this process: on more data, on all of it, or with another seed.

        Without validation data, the weights are those of the last step.

        Raises:
            DataError: a record cannot be used.
        """
        best = dict(self.best)
        where = {"layers": best.pop("layers", self.setting["layers"]), "device": self.device, "seed": seed}
        adapted = adapt(self.model, best.pop("task", self.task), best.pop("method"), **where)
        adapted.fit(train, validation, **best)
        return adapted

    @property
    def folder(self) -> Path:
        """The artifact of the best trial."""
        return self.store.artifact(self.best_trial.number)

    def importances(self) -> dict[str, float]:
        """How much of the differences between trials of the best method each setting explains, from 0 to 1 in all.

        PED-ANOVA (Watanabe et al. 2023) as Optuna has it; empty with fewer than four scored trials.
        """
        import optuna

        method = self.best_trial.settings["method"]
        study = self.store.load()
        numbers = {
            each.number for each in self.trials if each.settings.get("method") == method and each.score is not None
        }
        chosen = [each for each in study.get_trials() if each.number in numbers]
        with quiet_optuna():
            alone = optuna.create_study(direction=study.direction)
            for each in chosen:
                score = (
                    each.value if each.value is not None else each.intermediate_values[max(each.intermediate_values)]
                )
                params = {name: value for name, value in each.params.items() if name != "method"}
                kept = {name: each.distributions[name] for name in params}
                alone.add_trial(optuna.trial.create_trial(value=score, params=params, distributions=kept))
            try:
                evaluator = optuna.importance.PedAnovaImportanceEvaluator()
                found = optuna.importance.get_param_importances(alone, evaluator=evaluator) if len(chosen) > 3 else {}
            except (ValueError, RuntimeError):  # all scores are the same, or no setting is in all of them
                return {}
        named = {name.removeprefix(f"{method}: "): float(value) for name, value in found.items()}
        return {name: value for name, value in named.items() if math.isfinite(value)}

    def __str__(self) -> str:
        from lightadapt.experiments.tuning.table import as_text

        return as_text(self)

    def __repr__(self) -> str:
        return f"Study({len(self.trials)} trials, best {self.task.headline} {self.score:.4f})"

    def to_pandas(self) -> DataFrame:
        """A frame with one row a trial: number, end, score, seconds, and its settings by name.

        Raises:
            LightAdaptError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise LightAdaptError('to_pandas() needs pandas. Install it: pip install "lightadapt[plot]"') from error
        names = ("number", "end", "score", "seconds", "elapsed", "default")
        rows = [{**{name: getattr(each, name) for name in names}, **each.settings} for each in self.trials]
        return pandas.DataFrame(rows)

    def plot(self, folder: str | Path) -> list[Path]:
        """The files of the plots, written to a folder: score over time, settings side by side, and their importance.

        Args:
            folder: made when it is not there.

        Raises:
            LightAdaptError: matplotlib is not installed, or the folder cannot be written.
        """
        require_matplotlib()
        from lightadapt.experiments.tuning.plots import draw_plots

        return draw_plots(self, Path(folder))


def _below(settings: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The settings whose name begins with `kind.`, without that."""
    return {name.partition(".")[2]: value for name, value in settings.items() if name.startswith(f"{kind}.")}
