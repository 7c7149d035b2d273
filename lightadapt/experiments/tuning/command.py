"""What the command `lightadapt tune` does: a line as each trial ends, then the table, the plots and the artifact."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from lightadapt.data import Data
from lightadapt.display.figures import require_matplotlib
from lightadapt.errors import LightAdaptError
from lightadapt.experiments.tuning.results import Study, Trial
from lightadapt.experiments.tuning.search import tune
from lightadapt.experiments.tuning.table import describe_trial
from lightadapt.tasks import resolve_task


def run_search(
    model: str,
    task: str,
    train: Data,
    validation: Data | float,
    *,
    out: Path | None,
    plots: Path | None,
    **options: Any,
) -> Study:
    """Search, and print what came of it.

    Args:
        out: folder for what the best trial learned; None: it stays where trials are kept, which is printed.
        plots: folder for the plots; None: none are drawn.
        options: of `tune`.

    Raises:
        LightAdaptError: nothing can be searched like this, a folder is taken, or matplotlib is missing; before any
            trial.
    """
    if plots is not None:
        require_matplotlib()
    if out is not None and out.exists():
        raise LightAdaptError(f"--out {out} is there already. Name a new folder, or remove it.")
    console, headline = Console(highlight=False), resolve_task(task).headline

    def tell(trial: Trial) -> None:
        console.print(escape(describe_trial(trial, headline)), soft_wrap=True)

    study = tune(model, task, train, validation, on_trial=tell, **options)
    print(f"\n{study}")
    if out is not None:
        shutil.copytree(study.folder, out)
    for file in [out or study.folder, *(study.plot(plots) if plots is not None else ())]:
        console.print(escape(str(file)), soft_wrap=True)
    return study
