"""`lightadapt drift`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightadapt.cli.reporting import reported
from lightadapt.cli.values import parse_columns


def drift(
    adaptation: Annotated[str, typer.Argument(help="Folder of a saved adaptation.")],
    texts: Annotated[
        str, typer.Argument(help="At least 20 records, or a .txt of one text a line; - is the standard input.")
    ] = "-",
    reference: Annotated[
        str | None, typer.Option(help="Data to compare with in place of the training data; 50 records or more.")
    ] = None,
    level: Annotated[float, typer.Option(help="How often an alarm may be false.")] = 0.05,
    json: Annotated[Path | None, typer.Option(help="File for what was found.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="field=column, for other names; may be repeated.")] = None,
    base: Annotated[str | None, typer.Option(help="Where the base model is now, if not where it was.")] = None,
    quantize: Annotated[str | None, typer.Option(help="4bit, 8bit, or none for a base that was quantized.")] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")] = "auto",
) -> None:
    """Say whether texts have moved away from the data that an adaptation was trained on, and what is new in them."""
    with reported():
        import json as as_json

        from lightadapt.cli.placing import check_file
        from lightadapt.cli.predictions import lines_of
        from lightadapt.cli.starting import load_adaptation

        check_file("--json", json, texts, reference)
        adapted = load_adaptation(adaptation, base=base, quantize=quantize, device=device)
        lines = lines_of(texts, adapted)
        given = texts if lines is None else list(lines)
        found = adapted.drift(given, reference=reference, level=level, columns=parse_columns(columns))
        typer.echo(str(found))
        if json is not None:
            json.write_text(as_json.dumps(found.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
