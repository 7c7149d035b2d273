"""`lightadapt evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightadapt.cli.reporting import reported
from lightadapt.cli.values import parse_columns


def evaluate(
    adaptation: Annotated[str, typer.Argument(help="Folder of a saved adaptation.")],
    data: Annotated[str, typer.Argument(help="Labelled records: a file, or a data set on the hub.")],
    json: Annotated[Path | None, typer.Option(help="File for the scores.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="field=column, for other names; may be repeated.")] = None,
    base: Annotated[str | None, typer.Option(help="Where the base model is now, if not where it was.")] = None,
    quantize: Annotated[str | None, typer.Option(help="4bit, 8bit, or none for a base that was quantized.")] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")] = "auto",
) -> None:
    """Score a saved adaptation on labelled records, with a table per class where there are classes."""
    with reported():
        import json as as_json

        from lightadapt.cli.placing import check_file
        from lightadapt.cli.starting import load_adaptation

        check_file("--json", json)
        adapted = load_adaptation(adaptation, base=base, quantize=quantize, device=device)
        scores = adapted.evaluate(data, report=True, columns=parse_columns(columns))
        for name, value in scores.items():
            typer.echo(f"{name:<16} {value:.4f}")
        if json is not None:
            content = {"adaptation": adaptation, "data": data, "scores": dict(scores)}
            json.write_text(as_json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
