"""A search as text: a table of its trials, and what is to be known of the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightadapt.experiments.tuning.budget import as_time

if TYPE_CHECKING:
    from lightadapt.experiments.tuning.results import Study, Trial

SHOWN = 20
"""Trials that the table has; the best are chosen where there are more."""


def as_text(study: Study) -> str:
    """The trials as a table, the best ones first, and a few sentences below it."""
    ranked = ranked_trials(study)
    rows = [[str(each.number), _score(each), _end(each), as_time(each.seconds), describe(each)] for each in ranked]
    more = len(ranked) - SHOWN
    lines = _aligned([["trial", study.task.headline, "end", "time", "settings"], *rows[:SHOWN]])
    lines += [f"… and {more} more"] if more > 0 else []
    return "\n".join([*lines, "", *sentences(study)])


def ranked_trials(study: Study) -> list[Trial]:
    """The trials, those that are done first, the best of them first of all."""
    sign = -1 if study.task.greater_is_better else 1

    def key(trial: Trial) -> tuple[Any, ...]:
        return trial.end != "done", trial.score is None, sign * (trial.score or 0.0), trial.number

    return sorted(study.trials, key=key)


def sentences(study: Study) -> list[str]:
    """What came of the search, what mattered, and how far the best score is to be trusted."""
    best, default = study.best_trial, study.default_trial
    assert best.score is not None
    assert default.score is not None
    ended = {end: sum(each.end == end for each in study.trials) for end in dict.fromkeys(t.end for t in study.trials)}
    counts = ", ".join(f"{count} {end}" for end, count in ended.items())
    took = as_time(max(each.elapsed for each in study.trials))
    gain = f"{best.score:.4f}, {abs(best.score - default.score):.4f} better than the default settings"
    lines = [
        f"{len(study.trials)} trials in {took}: {counts}.",
        f"Best: trial {best.number}, {study.task.headline} {gain if best != default else 'with the default settings'}.",
    ]
    mattered = study.importances()
    if mattered:
        lines.append(f"What mattered: {', '.join(f'{name} {share:.0%}' for name, share in mattered.items())}.")
    records = study.setting["validation"]
    if study.unseen_scores:
        score = study.unseen_scores[study.task.headline]
        return [*lines, f"On {len(study.unseen):,} records on which no trial was scored, it has {score:.4f}."]
    lines.append(
        f"The best of several scores on the same {records:,} validation records is optimistic: score study.adapted on "
        "other records before you quote it."
    )
    return lines


def describe(trial: Trial) -> str:
    """The settings of a trial in one line."""
    method = trial.settings["method"]
    own = {name.partition(".")[2]: value for name, value in trial.settings.items() if name.startswith("method.")}
    rest = {name: value for name, value in trial.settings.items() if name != "method" and name[:7] != "method."}
    inside = _pairs(own)
    return ", ".join(filter(None, [f"{method}({inside})" if inside else method, _pairs(rest)]))


def describe_trial(trial: Trial, headline: str) -> str:
    """A trial in one line as it ends."""
    what = f"{headline} {trial.score:.4f}" if trial.end == "done" and trial.score is not None else _why(trial)
    return f"trial {trial.number}: {what}, {as_time(trial.seconds)}, {describe(trial)}"


def _why(trial: Trial) -> str:
    return f"{trial.end} ({trial.reason})" if trial.reason else trial.end


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
    )


def _score(trial: Trial) -> str:
    return "" if trial.score is None else f"{trial.score:.4f}"


def _end(trial: Trial) -> str:
    at = f" at {trial.points[-1][0]} %" if trial.end == "pruned" and trial.points else ""
    return f"{trial.end}{at}{', default' if trial.default else ''}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows with their columns below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
