"""`lightadapt choose`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightadapt.cli.reporting import reported
from lightadapt.cli.values import given, parse_columns, parse_names


def choose(
    model: Annotated[str, typer.Argument(help="A saved adaptation; or the hub id or folder of a model, with --task.")],
    texts: Annotated[str, typer.Argument(help="Records, or a .txt of one text a line; - is the standard input.")] = "-",
    n: Annotated[int, typer.Option("--n", min=1, help="How many to choose.")] = 20,
    labelled: Annotated[str | None, typer.Option(help="Records that have labels already, in the same forms.")] = None,
    output: Annotated[Path | None, typer.Option(help="File for what is chosen, .jsonl or .csv.")] = None,
    task: Annotated[str | None, typer.Option(help="Task, such as ner or classification.")] = None,
    labels: Annotated[str | None, typer.Option(help="Names of the classes with commas between.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="field=column, for other names; may be repeated.")] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")] = "auto",
) -> None:
    """Choose the records that are worth labelling next, the best first, with the reason for each.

    They stand for many others; by an adaptation that has learned, they are also those of which it is unsure.
    """
    with reported():
        from dataclasses import asdict

        from lightadapt.cli.placing import check_file
        from lightadapt.cli.predictions import lines_of, write_rows
        from lightadapt.cli.starting import start

        check_file("--output", output, texts, labelled)
        adapted = start(model, device=device, **given(task=task, labels=parse_names(labels)))
        found = adapted.choose(
            _inputs(lines_of(texts, adapted), texts),
            n,
            labelled=None if labelled is None else _inputs(lines_of(labelled, adapted), labelled),
            columns=parse_columns(columns),
        )
        if output is None:
            typer.echo(str(found))
        else:
            write_rows(map(asdict, found), output)


def _inputs(lines: object, name: str) -> object:
    """The texts of lines in memory; what is no file of lines is read by its name."""
    return name if lines is None else list(lines)  # type: ignore[call-overload]
