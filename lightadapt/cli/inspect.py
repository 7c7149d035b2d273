"""`lightadapt inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from lightadapt.cli.reporting import reported
from lightadapt.cli.values import parse_layers


def inspect(
    model: Annotated[str, typer.Argument(help="Hub id, folder, or config.json.")],
    task: Annotated[str | None, typer.Option(help="Task whose head the model would have, such as ner.")] = None,
    method: Annotated[str | None, typer.Option(help="A method, such as lora; all are listed if left out.")] = None,
    layers: Annotated[str | None, typer.Option(help="Blocks to adapt, such as last:4 or 0,1,5.")] = None,
    quantize: Annotated[str | None, typer.Option(help="4bit or 8bit: the form of the frozen projections.")] = None,
    dtype: Annotated[str, typer.Option(help="Number format of the other frozen weights.")] = "auto",
    device: Annotated[str, typer.Option(help="Where it would be trained: cpu or cuda.")] = "auto",
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens of a training step, to estimate its peak of memory.")
    ] = None,
) -> None:
    """Show what a model is made of, what each method would train and what that takes, without loading weights."""
    with reported():
        from lightadapt.base.inspection import inspect as look

        found = look(
            model,
            task=task,
            method=method,
            layers=parse_layers(layers),
            quantize=quantize,
            dtype=dtype,
            device=device,
            batch_tokens=batch_tokens,
        )
        typer.echo(str(found))
