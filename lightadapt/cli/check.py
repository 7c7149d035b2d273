"""`lightadapt check`."""

from __future__ import annotations

from typing import Annotated

import typer

from lightadapt.cli.reporting import reported
from lightadapt.cli.values import given, parse_columns, parse_layers, parse_names


def check(
    model: Annotated[str, typer.Argument(help="A saved adaptation; or the hub id or folder of a model, with --task.")],
    data: Annotated[str | None, typer.Argument(help="Records to try it on; by default two of the task's own.")] = None,
    task: Annotated[str | None, typer.Option(help="Task, such as ner or classification.")] = None,
    method: Annotated[str | None, typer.Option(help="Method; lora if left out.")] = None,
    labels: Annotated[str | None, typer.Option(help="Names of the classes with commas between.")] = None,
    layers: Annotated[str | None, typer.Option(help="Blocks to adapt, such as last:4 or 0,1,5.")] = None,
    quantize: Annotated[str | None, typer.Option(help="4bit or 8bit.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="field=column, for other names; may be repeated.")] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")] = "auto",
) -> None:
    """Try up to eight steps without changing anything, and say what was found to be right, a line each."""
    with reported():
        from lightadapt.cli.starting import start

        adapted = start(
            model,
            device=device,
            **given(
                task=task,
                method=method,
                labels=parse_names(labels) or data if task else parse_names(labels),
                layers=parse_layers(layers),
                quantize=quantize,
            ),
        )
        for line in adapted.check(data, columns=parse_columns(columns)):
            typer.echo(line)
