"""What train_speed.py prints and draws of its runs."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from measuring import MIB, work_parameters

from lightadapt.display.figures import RESOLUTION, start_figure
from lightadapt.experiments import markdown
from lightadapt.experiments.machine import as_text, describe_machine

Run = dict[str, Any]


def seconds_until(curve: list[tuple[float, float]], target: float) -> float | None:
    """When the curve reaches the target, on straight lines between its points; None when it does not."""
    for (begin, low), (end, high) in pairwise(curve):
        if low >= target:
            return begin
        if high >= target:
            return begin + (end - begin) * (target - low) / (high - low)
    return None


def by_side(runs: list[Run]) -> dict[str, list[Run]]:
    """The runs of each side."""
    return {side: [run for run in runs if run["side"] == side] for side in dict.fromkeys(run["side"] for run in runs)}


def summarize(runs: list[Run]) -> dict[str, Run]:
    """The figures of each side: medians over its runs, mean and spread of the score."""
    goals = {run["seed"]: run["score"] for run in runs if run["side"] == "guide"}
    found = {}
    for side, mine in by_side(runs).items():
        scores = [run["score"] for run in mine if run["score"] is not None]
        until = [
            seconds_until(run["curve"], goals[run["seed"]]) for run in mine if run["curve"] and run["seed"] in goals
        ]
        found[side] = {
            **{name: statistics.median(run[name] for run in mine) for name in ("seconds", "padding", "peak")},
            "cpu_speed": statistics.median(run["tokens"] / run["cpu"] for run in mine),
            "speed": statistics.median(run["tokens"] / run["seconds"] for run in mine),
            "whole_speed": statistics.median(run["tokens"] / run["whole"] for run in mine),
            "score": statistics.mean(scores) if scores else None,
            "spread": statistics.stdev(scores) if len(scores) > 1 else 0.0,
            "until": None if not until or None in until else statistics.median(until),
        }
    return found


def as_table(figure: str, found: dict[str, Run], *, rising: bool) -> str:
    """The figures as Markdown, with ratios of the speed to the first two sides; `rising` when more is better."""
    bases = [side for side in ("guide", "tuned") if side in found]
    head = ["", "tokens/s", *(f"x {side}" for side in bases), "with set-up", "tokens/CPU s", "padding", figure]
    head += ["training, s", *(["s to guide's"] if rising else []), "peak, MiB"]
    rows = []
    for side, row in found.items():
        cells = [side, f"{row['speed']:,.0f}", *(f"{row['speed'] / found[base]['speed']:.2f}" for base in bases)]
        cells += [f"{row['whole_speed']:,.0f}", f"{row['cpu_speed']:,.0f}", f"{row['padding']:.0%}"]
        cells += ["" if row["score"] is None else f"{row['score']:.4f} ± {row['spread']:.4f}", f"{row['seconds']:.1f}"]
        if rising:
            cells += ["not reached" if row["until"] is None else f"{row['until']:.1f}"]
        rows.append([*cells, f"{row['peak'] / MIB:,.0f}"])
    return markdown.as_table(head, rows)


def footnote(options: argparse.Namespace, *, bf16: bool) -> str:
    """What the figures are of."""
    used = "computed natively: `tuned` uses it" if bf16 else "not used by `tuned` (not native here)"
    return (
        f"\nRecords {options.records:,}, epochs {options.epochs}, rounds {options.rounds}, seeds "
        f"{min(options.seeds, options.rounds)}; {as_text(describe_machine(options.device), options.threads)}; "
        f"bf16: {used}."
    )


def describe_cache(runs: list[Run], ours: Sequence[str]) -> str:
    """What the cache gives from the second epoch on, and how far the losses are apart."""
    mine = {side: found for side, found in by_side(runs).items() if side in ours}
    later = {
        side: statistics.median(
            run["tokens"] / len(run["epochs"]) * len(run["epochs"][1:]) / sum(run["epochs"][1:]) for run in found
        )
        for side, found in mine.items()
    }
    apart = max(
        abs(first[1] - second[1])
        for one, other in zip(mine["last:2"], mine["cached"], strict=True)
        for first, second in zip(one["losses"], other["losses"], strict=True)
    )
    rows = [
        (side, f"{speed:,.0f}", f"{speed / later['lightadapt']:.2f}", f"{speed / later['last:2']:.2f}")
        for side, speed in later.items()
    ]
    table = markdown.as_table(["from the second epoch on", "tokens/s", "x lightadapt", "x last:2"], rows)
    return f"{table}\n\nLosses with and without the cache differ by at most {apart:.2g}."


def describe_rate(found: Run, work: dict[str, Any], rates: dict[str, float]) -> str:
    """Which share of the machine's matrix rate the real tokens take, as if each cost four operations a parameter."""
    parameters = work_parameters(work["model"])
    used = 4 * parameters * found["speed"]
    shares = [f"{used / rate:.0%} of {rate / 1e9:,.0f} GFLOP/s in {name}" for name, rate in rates.items()]
    return (
        f"lightadapt: 4 x {parameters / 1e6:.1f} M parameters x {found['speed']:,.0f} tokens/s = {used / 1e9:,.1f} "
        f"GFLOP/s, which is {', '.join(shares)} (this machine's matrix products of that shape)."
    )


def draw(title: str, figure: str, runs: list[Run], file: Path) -> None:
    """The score against the seconds of training, a line a side, with the range over the seeds."""
    plot, axes = start_figure(x="seconds of training (evaluations not counted)", y=f"{figure} on the test records")
    for side, mine in by_side(runs).items():
        points = list(zip(*(run["curve"] for run in mine), strict=True))
        seconds = [statistics.mean(at for at, _ in point) for point in points]
        scores = [[value for _, value in point] for point in points]
        line = axes.plot(seconds, [statistics.mean(each) for each in scores], marker="o", markersize=4, label=side)
        axes.fill_between(seconds, [min(each) for each in scores], [max(each) for each in scores], alpha=0.15)
        if side == "guide":
            end = statistics.mean(scores[-1])
            axes.axhline(end, color=line[0].get_color(), linestyle=":", label=f"guide ends with {end:.3f}")
    axes.set_title(f"{title} reached after so much training")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.legend()
    plot.savefig(file, dpi=RESOLUTION)
