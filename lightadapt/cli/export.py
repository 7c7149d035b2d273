"""`lightadapt export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightadapt.cli.reporting import reported
from lightadapt.cli.values import parse_columns, parse_settings


def export(
    adaptation: Annotated[Path, typer.Argument(help="Folder of a saved adaptation.")],
    to: Annotated[str, typer.Option(help="Format: merged, onnx, …; an unknown one lists them all.")],
    out: Annotated[Path, typer.Option(help="Folder for what is written.")],
    quantize: Annotated[str | None, typer.Option(help="Form of rounded weights, where the format has one.")] = None,
    check: Annotated[str | None, typer.Option(help="Labelled data to compare both on.")] = None,
    max_loss: Annotated[float | None, typer.Option(help="Loss of the headline metric that is still accepted.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="field=column, for other names; may be repeated.")] = None,
    set: Annotated[list[str] | None, typer.Option(help="Another option of the format, name=value.")] = None,
    base: Annotated[str | None, typer.Option(help="Where the base model is now, if not where it was.")] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")] = "auto",
) -> None:
    """Write a saved adaptation in a form that others read, and show how far that gives the same."""
    with reported({"check=…": "--check", "max_loss=": "--max-loss "}):
        from lightadapt.cli.placing import check_free
        from lightadapt.cli.starting import load_adaptation
        from lightadapt.export import format_of

        check_free(out, overwrite=None)
        format = format_of(to, parse_settings(set))
        adapted = load_adaptation(adaptation, base=base, device=device)
        typer.echo(
            adapted.export(
                out, format, quantize=quantize, check=check, max_loss=max_loss, columns=parse_columns(columns)
            )
        )
