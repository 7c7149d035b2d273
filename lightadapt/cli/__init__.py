"""The command line, one file a command; heavy modules are imported by the command that needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

import lightadapt
from lightadapt.cli.check import check
from lightadapt.cli.choose import choose
from lightadapt.cli.compare import compare
from lightadapt.cli.demo import demo
from lightadapt.cli.drift import drift
from lightadapt.cli.env import env
from lightadapt.cli.evaluate import evaluate
from lightadapt.cli.export import export
from lightadapt.cli.extend import extend
from lightadapt.cli.helping import Command, Group
from lightadapt.cli.inspect import inspect
from lightadapt.cli.merge import merge
from lightadapt.cli.predict import predict
from lightadapt.cli.preview import preview
from lightadapt.cli.serve import serve
from lightadapt.cli.suspects import suspects
from lightadapt.cli.train import train
from lightadapt.cli.tune import tune

app = typer.Typer(cls=Group, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")


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


BEGIN, USE, LOOK = "First steps", "From data to predictions", "Looking closer"
EXAMPLES: dict[Callable[..., None], tuple[str, str]] = {
    demo: (BEGIN, "lightadapt demo"),
    train: (USE, "lightadapt train --model bert-base-cased --task ner --data train.conll --out my-ner"),
    extend: (USE, "lightadapt extend my-ner --data more.conll --memory 5"),
    evaluate: (USE, "lightadapt evaluate my-ner test.conll --json scores.json"),
    predict: (USE, 'echo "Angela Merkel visited Paris" | lightadapt predict my-ner'),
    choose: (USE, "lightadapt choose my-intents unlabelled.txt --n 50 --output next.jsonl"),
    suspects: (USE, "lightadapt suspects all-MiniLM-L6-v2 train.jsonl --task classification --output suspects.csv"),
    drift: (USE, "lightadapt drift my-intents messages.txt --json drift.json"),
    merge: (USE, "lightadapt merge my-ner --out my-ner-merged"),
    export: (USE, "lightadapt export my-ner --to onnx --out my-ner-onnx --quantize int8 --check test.conll"),
    serve: (USE, "lightadapt serve my-ner my-intents --port 8000"),
    preview: (LOOK, "lightadapt preview bert-base-cased train.conll --task ner"),
    check: (LOOK, "lightadapt check bert-base-cased train.conll --task ner --method lora"),
    inspect: (LOOK, "lightadapt inspect bert-base-cased --method lora"),
    compare: (
        LOOK,
        "lightadapt compare bert-base-cased --task ner --train train.conll --test dev.conll --methods lora,bitfit",
    ),
    tune: (
        LOOK,
        "lightadapt tune bert-base-cased --task ner --train train.conll --validation dev.conll --budget 30min",
    ),
    env: (BEGIN, "lightadapt env"),
}
"""The commands in the order in which `--help` lists them, each with its group and an example."""

for command, (panel, example) in EXAMPLES.items():
    app.command(cls=Command, rich_help_panel=panel, epilog=f"[bold]Example:[/bold] {example}")(command)
