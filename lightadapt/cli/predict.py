"""`lightadapt predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightadapt.cli.reporting import reported
from lightadapt.cli.values import parse_columns


def predict(
    adaptation: Annotated[
        str, typer.Argument(help="Folder of a saved adaptation; with --task, a model that has learned nothing yet.")
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Records, or a .txt of one text a line; - is the standard input; or texts themselves."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="The task of a model without training, such as classification.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Its labels: names with commas, or a YAML file, a list or label: description."),
    ] = None,
    shots: Annotated[str | None, typer.Option(help="Labelled records to show to a language model.")] = None,
    out: Annotated[Path | None, typer.Option(help="File for the predictions, .jsonl or .csv.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Write CSV rather than JSON lines.")] = False,
    scores: Annotated[bool, typer.Option("--scores", help="Give the probability of each label, too.")] = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Give null for a text of none of the classes that were learned.")
    ] = False,
    with_inputs: Annotated[bool, typer.Option("--with-inputs", help="Repeat the fields of each input.")] = False,
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens of a batch; by default as it suits the device.")
    ] = None,
    columns: Annotated[list[str] | None, typer.Option(help="field=column, for other names; may be repeated.")] = None,
    interactive: Annotated[bool, typer.Option("--interactive", "-i", help="Answer what is typed.")] = False,
    base: Annotated[str | None, typer.Option(help="Where the base model is now, if not where it was.")] = None,
    quantize: Annotated[str | None, typer.Option(help="4bit, 8bit, or none for a base that was quantized.")] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")] = "auto",
) -> None:
    """Predict for a file or the standard input, as JSON lines, one for each input and in their order.

    Standard input holds a text a line, or a JSON object a line with the fields of a record. Predictions are written as
    they are made, however long the input is. With --task and --labels, a model answers by what the labels mean, before
    any training.
    """
    with reported():
        from lightadapt.cli.placing import check_file
        from lightadapt.cli.predictions import answer_typed, given_inputs, predict_stream
        from lightadapt.cli.starting import load_or_start
        from lightadapt.cli.values import parse_labels
        from lightadapt.errors import LightAdaptError, unquoted

        if interactive and inputs:
            raise LightAdaptError("--interactive answers what is typed. Leave the inputs out, or --interactive.")
        if csv and out is not None and out.suffix.lower() in (".jsonl", ".json"):
            raise LightAdaptError(f"--csv and --out {unquoted(str(out))} do not go together. Leave one of them out.")
        words, known = given_inputs(inputs or [], with_inputs=with_inputs), parse_labels(labels)
        check_file("--out", out, words if isinstance(words, str) else None)
        adapted = load_or_start(adaptation, task=task, labels=known, base=base, quantize=quantize, device=device)
        if interactive:
            answer_typed(adapted, scores=scores, unknown=unknown, shots=shots)
        else:
            predict_stream(
                adapted,
                words,
                out,
                as_csv=csv or (out is not None and out.suffix.lower() == ".csv"),
                scores=scores,
                unknown=unknown,
                with_inputs=with_inputs,
                batch_tokens=batch_tokens,
                shots=shots,
                columns=parse_columns(columns),
            )
