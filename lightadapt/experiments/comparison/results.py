"""What a comparison found: a run for each method and seed, kept in one JSON file that grows with every run."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from lightadapt.errors import LightAdaptError, nearest
from lightadapt.experiments.kept import write_json

Status: TypeAlias = Literal["done", "refused", "failed"]
SCHEMA = 1
"""The version of the JSON file."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all runs of a comparison have in common, and by which a file of results is known to be of this one."""

    model: str
    """Hub id, or name of the folder."""
    task: str
    data: str
    """Name of the training data."""
    train: int
    """Training records."""
    test: int
    """Test records."""
    epochs: float | None
    """None: as many as `fit` takes by itself."""
    layers: str | list[int] | None
    device: str
    threads: int
    """Cores that a run computes on."""
    digest: str
    """A hash of the records, the config of the model and the options of the task."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One method with one seed: what it took and what came of it, or why there is nothing."""

    method: str
    seed: int
    status: Status = "done"
    """`refused`: this method cannot be had on this model; `failed`: it stopped on the way."""
    reason: str = ""
    """Why it was refused or failed."""
    trained: int = 0
    """Parameters that are trained, the head among them."""
    total: int = 0
    """Parameters of the model with what is inserted."""
    seconds: float = 0.0
    """Wall time of training, without loading and scoring."""
    tokens_per_second: float = 0.0
    """Real tokens (no padding) trained on per second."""
    peak_memory: int = 0
    """Bytes: the most that the process had while training, over what it had before the model was loaded; on a GPU the
    most that was allocated there."""
    saved: int = 0
    """Bytes of the saved weights."""
    scores: dict[str, float] = field(default_factory=dict)
    """On the test records, the headline first."""
    intervals: dict[str, list[float]] = field(default_factory=dict)
    """`[low, high]` of each score, with a confidence of 0.95 (see `Scores.intervals`); earlier versions kept none."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Options of the method; epochs, learning rates and batch as they were used; steps; seconds of scoring."""


@dataclass(frozen=True)
class Measured:
    """A figure over the seeds."""

    mean: float
    spread: float | None
    """Sample standard deviation; None of a single seed."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Measured:
        """The mean and spread of one value or more."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method over all its seeds."""

    method: str
    trained: int
    share: float
    """The share of all parameters that is trained, from 0 to 1."""
    seconds: Measured
    tokens_per_second: Measured
    peak_memory: Measured
    saved: int
    score: Measured
    interval: tuple[float, float] | None
    """Where the score may be on other test records, the mean over the seeds; None where a run has no interval."""
    seeds: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs of several methods in the same setting on the same machine."""

    title: str
    """Data set and model, for people."""
    setting: Setting
    machine: dict[str, str]
    """Processor, memory, system and versions."""
    runs: tuple[Outcome, ...] = ()

    @property
    def methods(self) -> list[str]:
        """The names of the methods, in their order."""
        return list(dict.fromkeys(run.method for run in self.runs))

    @property
    def headline(self) -> str:
        """The metric that the task is judged by; empty when no run is done."""
        return next(iter(self._done[0].scores), "") if self._done else ""

    @property
    def _done(self) -> list[Outcome]:
        return [run for run in self.runs if run.status == "done"]

    def rows(self, metric: str | None = None) -> list[Row]:
        """A row for each method with a run that is done, in their order.

        Args:
            metric: what counts as the score; None: the headline.

        Raises:
            LightAdaptError: the runs have no such metric.
        """
        metric = self.headline if metric is None else metric
        known = self._done[0].scores if self._done else {}
        if self._done and metric not in known:
            raise LightAdaptError(f"Unknown metric {metric!r}. {nearest(metric, known)}Metrics: {', '.join(known)}")
        grouped = {name: [run for run in self._done if run.method == name] for name in self.methods}
        return [_row(name, runs, metric) for name, runs in grouped.items() if runs]

    def problems(self) -> dict[str, str]:
        """For each method without a run that is done: `refused: …` or `failed: …`."""
        done = {run.method for run in self._done}
        return {run.method: f"{run.status}: {run.reason}" for run in self.runs if run.method not in done}

    def with_run(self, run: Outcome) -> Comparison:
        """The comparison with this run, in the place of an earlier one of the same method and seed."""
        others = [each for each in self.runs if (each.method, each.seed) != (run.method, run.seed)]
        return replace(self, runs=(*others, run))

    def only(self, methods: Sequence[str], seeds: Iterable[int]) -> Comparison:
        """The comparison of these methods and seeds alone, in this order of methods."""
        wanted = set(seeds)
        chosen = [run for name in methods for run in self.runs if run.method == name and run.seed in wanted]
        return replace(self, runs=tuple(chosen))

    def save(self, path: str | Path) -> None:
        """Write the JSON file, as a whole or not at all."""
        write_json(Path(path), {"schema": SCHEMA, **asdict(self)})


def _row(method: str, runs: Sequence[Outcome], metric: str) -> Row:
    first = runs[0]
    return Row(
        method=method,
        trained=first.trained,
        share=first.trained / first.total,
        seconds=Measured.of([run.seconds for run in runs]),
        tokens_per_second=Measured.of([run.tokens_per_second for run in runs]),
        peak_memory=Measured.of([run.peak_memory for run in runs]),
        saved=first.saved,
        score=Measured.of([run.scores[metric] for run in runs]),
        interval=_mean_interval([run.intervals.get(metric) for run in runs]),
        seeds=len(runs),
    )


def _mean_interval(found: Sequence[list[float] | None]) -> tuple[float, float] | None:
    ends = [each for each in found if each is not None]
    if not ends or len(ends) < len(found):
        return None
    return statistics.fmean(low for low, _ in ends), statistics.fmean(high for _, high in ends)


def read_comparison(path: str | Path) -> Comparison:
    """The comparison in a JSON file.

    Raises:
        LightAdaptError: there is no such file, or it is something else.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}")
        runs = tuple(Outcome(**run) for run in content["runs"])
        setting = Setting(**content["setting"])
        found = Comparison(title=content["title"], setting=setting, machine=content["machine"], runs=runs)
    except OSError as error:
        raise LightAdaptError(f"{path} cannot be read: {error.strerror}.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise LightAdaptError(
            f"{path} holds no results of a comparison that this version reads ({error}). Choose another file."
        ) from error
    return found


def check_same(found: Comparison, wanted: Comparison, path: Path) -> None:
    """Raise when results in a file are of another setting or machine, so that new ones cannot stand beside them."""
    for name in (entry.name for entry in fields(Setting)):
        _check_equal(name, getattr(found.setting, name), getattr(wanted.setting, name), path)
    for name in sorted(found.machine.keys() | wanted.machine.keys()):
        _check_equal(name, found.machine.get(name), wanted.machine.get(name), path)


def _check_equal(name: str, found: Any, wanted: Any, path: Path) -> None:
    if found != wanted:
        raise LightAdaptError(
            f"{path} holds results with {name} {found!r}, and now it is {wanted!r}: they cannot be compared. Choose "
            "another file, or delete this one."
        )
