"""The command line; heavy modules are imported by the command that needs them, so that `--help` is quick."""

from pathlib import Path
from typing import Annotated

import typer

import lightadapt
from lightadapt.errors import LightAdaptError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lightadapt {lightadapt.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Adapt any pretrained transformer to any NLP task by training about 1 % of it."""


def _fail(error: LightAdaptError) -> typer.Exit:
    typer.echo(f"Error: {error}", err=True)
    return typer.Exit(1)


def _parse_layers(text: str | None) -> str | list[int] | None:
    """The blocks as the library takes them: numbers become a list."""
    parts = (text or "").split(",")
    return [int(part) for part in parts] if all(part.strip().isdigit() for part in parts) else text


@app.command()
def inspect(
    model: Annotated[str, typer.Argument(help="Hub id, folder, or config.json.")],
    task: Annotated[str | None, typer.Option(help="Task whose head the model would have, such as ner.")] = None,
    method: Annotated[str | None, typer.Option(help="A method, such as lora; left out, all are listed.")] = None,
    layers: Annotated[str | None, typer.Option(help="Blocks to adapt, such as last:4 or 0,1,5.")] = None,
    quantize: Annotated[str | None, typer.Option(help="4bit or 8bit: the form of the frozen projections.")] = None,
    dtype: Annotated[str, typer.Option(help="Number format of the other frozen weights.")] = "auto",
    device: Annotated[str, typer.Option(help="Where it would be trained: cpu or cuda.")] = "auto",
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens of a training step, to estimate its peak of memory.")
    ] = None,
) -> None:
    """Show what a model is made of, what each method would train and what that takes, without loading weights."""
    from lightadapt.base.inspection import inspect as look

    try:
        found = look(
            model,
            task=task,
            method=method,
            layers=_parse_layers(layers),
            quantize=quantize,
            dtype=dtype,
            device=device,
            batch_tokens=batch_tokens,
        )
        typer.echo(str(found))
    except LightAdaptError as error:
        raise _fail(error) from None


def _parse_columns(pairs: list[str] | None) -> dict[str, str]:
    """`{field: column}` of texts such as `text=sentence`."""
    for pair in pairs or ():
        if not all(pair.partition("=")):
            raise LightAdaptError(f"--columns {pair}: write field=column, such as text=sentence.")
    return {field: column for field, _, column in (pair.partition("=") for pair in pairs or ())}


@app.command()
def compare(
    model: Annotated[str, typer.Argument(help="Hub id or folder.")],
    task: Annotated[str, typer.Option(help="Task, such as ner or classification.")],
    train: Annotated[str, typer.Option(help="Training data: a file, or a data set on the hub.")],
    test: Annotated[str, typer.Option(help="Labelled data to score on, likewise.")],
    methods: Annotated[
        str | None,
        typer.Option(help="Names with commas between; left out: full,lora,prefix,bottleneck,ia3,bitfit,probe."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each method; the seeds count from 0.")] = 3,
    epochs: Annotated[float | None, typer.Option(help="Passes over the data; left out, as fit chooses.")] = None,
    layers: Annotated[str | None, typer.Option(help="Blocks to adapt, such as last:4 or 0,1,5.")] = None,
    records: Annotated[int | None, typer.Option(help="Train on this many records, drawn from all.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="field=column, for other names; may be repeated.")] = None,
    threads: Annotated[int | None, typer.Option(help="Cores that a run computes on.")] = None,
    title: Annotated[str | None, typer.Option(help="Title of table and plots; left out, data and model.")] = None,
    json: Annotated[Path | None, typer.Option(help="File of results; runs that it holds are not repeated.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Folder for two plots; needs matplotlib.")] = None,
) -> None:
    """Train several methods on the same data: parameters, seconds, memory, size and score of each, over seeds."""
    from lightadapt.experiments.comparison.command import run_comparison

    try:
        complete = run_comparison(
            model,
            task,
            None if methods is None else [name.strip() for name in methods.split(",") if name.strip()],
            train=train,
            test=test,
            seeds=seeds,
            epochs=epochs,
            layers=_parse_layers(layers),
            records=records,
            columns=_parse_columns(columns),
            threads=threads,
            title=title,
            path=json,
            plots=plot,
        )
    except LightAdaptError as error:
        raise _fail(error) from None
    if not complete:
        raise typer.Exit(1)


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the sample data and the two saved adaptations.")] = Path(
        "lightadapt-demo"
    ),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training data.")] = 3,
) -> None:
    """Adapt a real 22 M encoder to two tasks, offline: intents and entities of a support desk."""
    typer.echo("lightadapt demo: loading torch and transformers ...")
    from lightadapt.demo import run_demo

    try:
        run_demo(output, epochs=epochs)
    except LightAdaptError as error:
        raise _fail(error) from None
