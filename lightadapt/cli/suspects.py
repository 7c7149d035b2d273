"""`lightadapt suspects`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightadapt.cli.reporting import reported
from lightadapt.cli.values import given, parse_columns


def suspects(
    model: Annotated[str, typer.Argument(help="A saved adaptation; or the hub id or folder of a model, with --task.")],
    data: Annotated[str, typer.Argument(help="Labelled records: a file, or a data set on the hub.")],
    folds: Annotated[int, typer.Option(min=2, help="In how many parts the records are judged.")] = 5,
    thorough: Annotated[bool, typer.Option("--thorough", help="Fine-tune for each fold: slower by far.")] = False,
    output: Annotated[Path | None, typer.Option(help="File for the suspects, .jsonl or .csv.")] = None,
    task: Annotated[str | None, typer.Option(help="classification, relation or multilabel.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="field=column, for other names; may be repeated.")] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")] = "auto",
) -> None:
    """List the records whose label is probably wrong, the most suspicious first, with the label they should have."""
    with reported():
        from dataclasses import asdict

        from lightadapt.cli.placing import check_file
        from lightadapt.cli.predictions import write_rows
        from lightadapt.cli.starting import start

        check_file("--output", output, data)
        adapted = start(model, device=device, **given(task=task))
        found = adapted.suspects(data, folds=folds, thorough=thorough, columns=parse_columns(columns))
        if output is None:
            typer.echo(str(found))
        else:
            write_rows(map(asdict, found), output)
