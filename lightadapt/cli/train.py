"""`lightadapt train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightadapt.cli.reporting import reported
from lightadapt.cli.values import given, parse_columns, parse_layers, parse_names, parse_share

MODEL, TRAINING, RUN = "Model, task and method", "Data and training", "The run"
SPOKEN = {"resume=True": "--resume", "output_dir=…": "--checkpoints"}
"""Arguments as errors of the library name them, and as this command does."""


def train(
    model: Annotated[str | None, typer.Option(help="Hub id or folder.", rich_help_panel=MODEL)] = None,
    task: Annotated[
        str | None, typer.Option(help="Task, such as ner, classification or qa.", rich_help_panel=MODEL)
    ] = None,
    method: Annotated[str | None, typer.Option(help="Method; lora if left out.", rich_help_panel=MODEL)] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Names with commas between them; by default those in the data.", rich_help_panel=MODEL),
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Blocks to adapt, such as last:4 or 0,1,5.", rich_help_panel=MODEL)
    ] = None,
    quantize: Annotated[
        str | None, typer.Option(help="4bit or 8bit: the form of the frozen projections.", rich_help_panel=MODEL)
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Another tokenizer: hub id or folder.", rich_help_panel=MODEL)
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of a hub model.", rich_help_panel=MODEL)
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Number format of the frozen weights.", rich_help_panel=MODEL)
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run the code that a hub model brings.", rich_help_panel=MODEL)
    ] = False,
    data: Annotated[
        str | None,
        typer.Option("--data", "--train", help="Records: a file, or a data set on the hub.", rich_help_panel=TRAINING),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(help="Records to choose the best weights by, or a share such as 0.1.", rich_help_panel=TRAINING),
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="Records to score on when it has been saved.", rich_help_panel=TRAINING)
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(help="field=column, for other names; may be repeated.", rich_help_panel=TRAINING),
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the data.", rich_help_panel=TRAINING)] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="By default the method's own.", rich_help_panel=TRAINING)
    ] = None,
    batch_tokens: Annotated[int | None, typer.Option(help="Tokens of a batch.", rich_help_panel=TRAINING)] = None,
    early_stopping: Annotated[
        int | None, typer.Option(help="Stop after so many evaluations without gain.", rich_help_panel=TRAINING)
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="few-shot or standard; by default the data tells.", rich_help_panel=TRAINING)
    ] = None,
    calibrate: Annotated[
        bool | None,
        typer.Option("--calibrate", help="Put probabilities right on the validation data.", rich_help_panel=TRAINING),
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="adamw, adamw8bit or paged_adamw8bit.", rich_help_panel=TRAINING)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for what is trained.", rich_help_panel=RUN)] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file with settings, such as an earlier run has left.", rich_help_panel=RUN),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Any setting: method.rank=16, task.window=256, args.weight_decay=0.1; may be repeated.",
            rich_help_panel=RUN,
        ),
    ] = None,
    checkpoints: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints, to be kept.", rich_help_panel=RUN)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted run stopped.", rich_help_panel=RUN)
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the adaptation in --out.", rich_help_panel=RUN)
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.", rich_help_panel=RUN)] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.", rich_help_panel=RUN)] = None,
) -> None:
    """Train an adaptation on records and save it; the settings are written beside it, for --config.

    A run that is ended by Ctrl-C keeps a checkpoint, and the same command with --resume goes on from there.
    """
    with reported(SPOKEN):
        from lightadapt.cli.training_run import run_training

        run_training(
            config,
            given(
                model=model,
                task=task,
                method=method,
                labels=parse_names(labels),
                layers=parse_layers(layers),
                quantize=quantize,
                tokenizer=tokenizer,
                revision=revision,
                dtype=dtype,
                device=device,
                seed=seed,
                train=data,
                validation=parse_share(validation),
                test=test,
                columns=parse_columns(columns),
                epochs=epochs,
                learning_rate=learning_rate,
                batch_tokens=batch_tokens,
                early_stopping=early_stopping,
                recipe=recipe,
                calibrate=calibrate,
                optimizer=optimizer,
                output_dir=None if checkpoints is None else str(checkpoints),
                out=None if out is None else str(out),
            ),
            set_ or (),
            resume=resume,
            overwrite=overwrite,
            trust_remote_code=trust_remote_code,
        )
