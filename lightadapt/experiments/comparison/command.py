"""What the command `lightadapt compare` does: a line as each run ends, then the table, and the plots when asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from lightadapt.display.figures import require_matplotlib
from lightadapt.experiments.comparison.inputs import USUAL_METHODS
from lightadapt.experiments.comparison.plots import draw_plots
from lightadapt.experiments.comparison.results import Outcome
from lightadapt.experiments.comparison.runs import compare
from lightadapt.experiments.comparison.tables import as_markdown, as_table, describe_setting


def run_comparison(model: str, task: str, methods: list[str] | None, *, plots: Path | None, **options: Any) -> bool:
    """Compare, and print what came of it; whether no run failed.

    Args:
        methods: None: the usual ones.
        plots: folder for the plots; None: none are drawn.
        options: of `compare`.

    Raises:
        LightAdaptError: nothing can be compared like this, or matplotlib is missing for plots; before any run.
    """
    if plots is not None:
        require_matplotlib()
    console = Console(highlight=False)
    found = compare(
        model,
        task,
        USUAL_METHODS if methods is None else methods,
        **options,
        on_run=lambda run: console.print(escape(describe_run(run)), soft_wrap=True),
    )
    if console.is_terminal:
        console.print(as_table(found))
        console.print(escape(describe_setting(found)))
    else:
        print(as_markdown(found))
    if plots is not None and found.headline:
        for file in draw_plots(found, plots):
            console.print(escape(str(file)), soft_wrap=True)
    return all(run.status != "failed" for run in found.runs)


def describe_run(run: Outcome) -> str:
    """A run in one line."""
    name = f"{run.method}, seed {run.seed}"
    if run.status != "done":
        return f"{name}: {run.status}: {run.reason}"
    metric, score = next(iter(run.scores.items()))
    return f"{name}: {metric} {score:.4f}, {run.seconds:.1f} s, {run.trained:,} parameters trained"
