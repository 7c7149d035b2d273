"""Plots of a search: score over time, the settings of all trials side by side, and what mattered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightadapt.display.figures import BLUE, GREY, ORANGE, RESOLUTION, SIZE, clear, empty_figure, start_figure
from lightadapt.errors import LightAdaptError
from lightadapt.experiments.comparison.tables import metric_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lightadapt.experiments.tuning.results import Study, Trial

MINUTES = 300
"""Seconds from which time is drawn in minutes."""
ABSENT = object()
"""In the place of a setting that a trial does not have, since its method has none of that name."""


def draw_plots(study: Study, folder: Path) -> list[Path]:
    """The files of the plots, written to a folder; that of importance only where there are trials enough.

    Raises:
        LightAdaptError: the folder cannot be written.
    """
    figures = {"progress": draw_progress(study), "settings": draw_settings(study)}
    mattered = study.importances()
    if mattered:
        figures["importance"] = draw_importance(mattered)
    files = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            files.append(folder / f"{name}.png")
            figure.savefig(files[-1], dpi=RESOLUTION)
    except OSError as error:
        raise LightAdaptError(f"{folder} cannot be written: {error}. Name another folder.") from error
    return files


def draw_progress(study: Study) -> Figure:
    """The score of each trial when it ended, and the best until then."""
    trials = sorted((each for each in study.trials if each.score is not None), key=lambda each: each.elapsed)
    unit, name = (60.0, "minutes") if max(each.elapsed for each in trials) >= MINUTES else (1.0, "seconds")
    figure, axes = start_figure(x=f"{name} since the search began", y=f"validation {metric_name(study.task.headline)}")
    for done, colour, label in ((True, BLUE, "full run"), (False, GREY, "ended early")):
        chosen = [each for each in trials if (each.end == "done") == done]
        if chosen:
            times = [each.elapsed / unit for each in chosen]
            axes.plot(times, [each.score or 0.0 for each in chosen], "o", color=colour, markersize=5, label=label)
    done_trials = [each for each in trials if each.end == "done"]
    pick = max if study.task.greater_is_better else min
    best = list(accumulate((each.score or 0.0 for each in done_trials), pick))
    times = [each.elapsed / unit for each in done_trials]
    axes.step([*times, trials[-1].elapsed / unit], [*best, best[-1]], where="post", color=BLUE, label="best so far")
    default = study.default_trial
    axes.axhline(default.score or 0.0, color=ORANGE, linewidth=1, linestyle="--", label="default settings")
    axes.set_xlim(left=0)
    axes.legend(frameon=False, fontsize=9)
    return figure


def draw_settings(study: Study) -> Figure:
    """Parallel coordinates: a line for each trial through its settings, the darker the better its score."""
    trials = [each for each in study.trials if each.score is not None]
    sign = 1 if study.task.greater_is_better else -1
    trials.sort(key=lambda each: sign * (each.score or 0.0))
    names = [name for name in _names(trials) if len({_key(each.settings.get(name)) for each in trials}) > 1]
    figure = empty_figure((max(SIZE[0], 1.3 * (len(names) + 1)), SIZE[1]))
    axes = figure.add_subplot()
    clear(axes)
    columns = [_heights([each.settings.get(name, ABSENT) for each in trials]) for name in names]
    scores = _heights([each.score for each in trials])
    for number, trial in enumerate(trials):
        best = trial.number == study.best_trial.number
        strength = 0.12 + 0.6 * number / max(1, len(trials) - 1)
        line = [(column, heights[number]) for column, heights in enumerate([*columns, scores])]
        known = [(column, height) for column, height in line if height is not None]
        axes.plot(*zip(*known, strict=True), color=ORANGE if best else BLUE, alpha=1 if best else strength)
    axes.set_xticks(range(len(names) + 1), [*names, study.task.headline], rotation=25, ha="right", fontsize=8)
    for column, name in enumerate(names):
        _write_values(axes, column, [each.settings.get(name, ABSENT) for each in trials])
    _write_values(axes, len(names), [each.score for each in trials])
    axes.set_yticks([])
    axes.set_title("settings of all trials; the best in orange", fontsize=10, loc="left")
    return figure


def draw_importance(mattered: dict[str, float]) -> Figure:
    """A bar for each setting."""
    figure, axes = start_figure(x="share of the differences between trials that it explains", y="")
    names = list(mattered)[::-1]
    axes.barh(names, [mattered[name] for name in names], color=BLUE)
    return figure


def _names(trials: Sequence[Trial]) -> list[str]:
    return list(dict.fromkeys(name for each in trials for name in each.settings))


def _key(value: Any) -> str:
    return repr(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _heights(values: Sequence[Any]) -> list[float | None]:
    """Where values stand between 0 and 1: numbers by their size, by its logarithm where it spans a factor of ten."""
    known = [value for value in values if value is not ABSENT]
    if not all(map(_is_number, known)):
        order = sorted({_key(value) for value in known})
        places = {name: number / max(1, len(order) - 1) for number, name in enumerate(order)}
        return [places.get(_key(value)) for value in values]
    low, high = min(known), max(known)
    scale = math.log if low > 0 and high >= 10 * low else float
    ends = scale(low), scale(high)
    width = ends[1] - ends[0] or 1.0
    return [None if value is ABSENT else (scale(value) - ends[0]) / width for value in values]


def _write_values(axes: Any, column: int, values: Sequence[Any]) -> None:
    """The ends of a column, or all of its values where they are names."""
    heights = _heights(values)
    known = {height: value for height, value in zip(heights, values, strict=True) if height is not None}
    if all(_is_number(value) for value in known.values()):
        known = {height: known[height] for height in (min(known), max(known))}
    for height, value in known.items():
        text = f"{value:.3g}" if isinstance(value, float) else str(value)
        axes.annotate(text, (column, height), (4, 2), textcoords="offset points", fontsize=7, color="#555555")
