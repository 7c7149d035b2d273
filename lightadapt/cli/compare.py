"""`lightadapt compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightadapt.cli.reporting import FAILED, reported
from lightadapt.cli.values import parse_columns, parse_layers, parse_names


def compare(
    model: Annotated[str, typer.Argument(help="Hub id or folder.")],
    task: Annotated[str, typer.Option(help="Task, such as ner or classification.")],
    train: Annotated[str, typer.Option(help="Training data: a file, or a data set on the hub.")],
    test: Annotated[str, typer.Option(help="Labelled data to score on, likewise.")],
    methods: Annotated[
        str | None,
        typer.Option(help="Names with commas between them; by default full,lora,prefix,bottleneck,ia3,bitfit,probe."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each method; the seeds count from 0.")] = 3,
    epochs: Annotated[float | None, typer.Option(help="Passes over the data; fit chooses if left out.")] = None,
    layers: Annotated[str | None, typer.Option(help="Blocks to adapt, such as last:4 or 0,1,5.")] = None,
    records: Annotated[int | None, typer.Option(help="Train on this many records, drawn from all.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="field=column, for other names; may be repeated.")] = None,
    threads: Annotated[int | None, typer.Option(help="Cores that a run computes on.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of table and plots; by default data and model.")] = None,
    json: Annotated[Path | None, typer.Option(help="File of results; runs that it holds are not repeated.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Folder for two plots; needs matplotlib.")] = None,
) -> None:
    """Train several methods on the same data: parameters, seconds, memory, size and score of each, over seeds."""
    with reported():
        from lightadapt.experiments.comparison.command import run_comparison

        complete = run_comparison(
            model,
            task,
            parse_names(methods),
            train=train,
            test=test,
            seeds=seeds,
            epochs=epochs,
            layers=parse_layers(layers),
            records=records,
            columns=parse_columns(columns) or {},
            threads=threads,
            title=title,
            path=json,
            plots=plot,
        )
    if not complete:
        raise typer.Exit(FAILED)
