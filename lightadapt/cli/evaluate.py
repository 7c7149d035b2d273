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
    confidence: Annotated[float | None, typer.Option(help="Of the intervals, such as 0.95, the default.")] = None,
    before: Annotated[bool, typer.Option("--before", help="Also score the base, without what was learned.")] = False,
) -> None:
    """Score a saved adaptation on labelled records, with intervals, and a table per class where there are classes."""
    with reported():
        import json as as_json

        from lightadapt.cli.placing import check_file
        from lightadapt.cli.starting import load_adaptation
        from lightadapt.evaluation.intervals import check_confidence
        from lightadapt.evaluation.lines import as_facts

        check_file("--json", json, data)
        if confidence is not None:
            check_confidence(confidence)
        adapted = load_adaptation(adaptation, base=base, quantize=quantize, device=device)
        scores = adapted.evaluate(
            data, report=True, columns=parse_columns(columns), confidence=confidence, before=before
        )
        typer.echo(str(scores))
        if json is not None:
            content = {"adaptation": adaptation, "data": data, **as_facts(scores)}
            json.write_text(as_json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
