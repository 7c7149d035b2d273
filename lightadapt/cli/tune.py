"""`lightadapt tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightadapt.cli.reporting import reported
from lightadapt.cli.values import parse_columns, parse_layers, parse_search, parse_share

SPOKEN = {
    "budget='30min'": "--budget 30min",
    "trials=30": "--trials 30",
    "storage=": "--storage ",
    "budget=": "--budget ",
}
"""Arguments as errors of the library name them, and as this command does."""


def tune(
    model: Annotated[str, typer.Argument(help="Hub id or folder.")],
    task: Annotated[str, typer.Option(help="Task, such as ner or classification.")],
    train: Annotated[str, typer.Option(help="Training data: a file, or a data set on the hub.")],
    validation: Annotated[
        str, typer.Option(help="Labelled data to score trials on, or a share of the training data such as 0.1.")
    ],
    budget: Annotated[str | None, typer.Option(help="Time for all of it, such as 30min or 2h.")] = None,
    trials: Annotated[int | None, typer.Option(help="Runs in all; give this, or --budget, or both.")] = None,
    method: Annotated[str | None, typer.Option(help="The one to tune; by default lora, bottleneck and ia3.")] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            help="name=range: method.rank=[4,8,16], learning_rate=1e-4..1e-2,log; may be repeated.",
        ),
    ] = None,
    unseen: Annotated[
        float | None, typer.Option(help="Share of the validation data that no trial is scored on, such as 0.5.")
    ] = None,
    layers: Annotated[str | None, typer.Option(help="Blocks to adapt, such as last:4 or 0,1,5.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="field=column, for other names; may be repeated.")] = None,
    threads: Annotated[int | None, typer.Option(help="Cores that a trial computes on.")] = None,
    workers: Annotated[int | None, typer.Option(help="Trials at a time; by default one on each GPU.")] = None,
    seed: Annotated[int, typer.Option(help="Of what is tried, and of each trial.")] = 0,
    storage: Annotated[
        str | None, typer.Option(help="Folder, journal file or database of the trials; the same call goes on there.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for what the best trial learned.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Folder for plots; needs matplotlib.")] = None,
) -> None:
    """Search for the settings that score best on validation data, within a time or a number of runs.

    What is interrupted goes on with the same command: trials that have ended are not repeated.
    """
    with reported(SPOKEN):
        from lightadapt.experiments.tuning.command import run_search

        run_search(
            model,
            task,
            train,
            parse_share(validation),
            budget=budget,
            trials=trials,
            method=method,
            search=parse_search(search),
            unseen=unseen,
            layers=parse_layers(layers),
            columns=parse_columns(columns) or {},
            threads=threads,
            workers=workers,
            seed=seed,
            storage=storage,
            out=out,
            plots=plot,
        )
