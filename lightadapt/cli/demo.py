"""`lightadapt demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightadapt.cli.reporting import reported


def demo(
    output: Annotated[Path, typer.Option(help="Folder for the sample data and the two saved adaptations.")] = Path(
        "lightadapt-demo"
    ),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training data.")] = 3,
    language: Annotated[str, typer.Option(help="Of the messages: en or zh.")] = "en",
    model: Annotated[str | None, typer.Option(help="Encoder; by default MiniLM, which reads English.")] = None,
) -> None:
    """Adapt a real 22 M encoder to two tasks, offline: intents and entities of a support desk."""
    typer.echo("lightadapt demo: loading torch and transformers ...")
    with reported({"run_demo(…, model='bert-base-chinese')": "--model bert-base-chinese"}):
        from lightadapt.demo import run_demo

        run_demo(output, epochs=epochs, language=language, model=model)
