"""`lightadapt preview`."""

from __future__ import annotations

from typing import Annotated

import typer

from lightadapt.cli.reporting import reported
from lightadapt.cli.values import given, parse_columns


def preview(
    model: Annotated[str, typer.Argument(help="A saved adaptation; or the hub id or folder of a model, with --task.")],
    data: Annotated[str, typer.Argument(help="Labelled records: a file, or a data set on the hub.")],
    task: Annotated[str | None, typer.Option(help="Task, such as ner or classification.")] = None,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Records to show.")] = 3,
    columns: Annotated[list[str] | None, typer.Option(help="field=column, for other names; may be repeated.")] = None,
) -> None:
    """Print the first records as the model will see them: what is learned of each between ⟦ and ⟧, and what is cut."""
    with reported(forms=False):  # what is printed begins with it
        from lightadapt.cli.starting import start

        start(model, **given(task=task)).preview(data, n, columns=parse_columns(columns))
