"""`lightadapt extend`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightadapt.cli.reporting import reported
from lightadapt.cli.values import parse_columns, parse_share


def extend(
    adaptation: Annotated[str, typer.Argument(help="Folder of a saved adaptation.")],
    data: Annotated[str, typer.Option("--data", "--train", help="Records: a file, or a data set on the hub.")],
    memory: Annotated[int, typer.Option(help="Records of each class to keep in the artifact; 0: none.")] = 5,
    validation: Annotated[
        str | None, typer.Option(help="Records of old and new classes to score on, or a share such as 0.1.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the result; by default it replaces what was.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="field=column, for other names; may be repeated.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the data.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="By default the method's own.")] = None,
    base: Annotated[str | None, typer.Option(help="Where the base model is now, if not where it was.")] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")] = "auto",
) -> None:
    """Teach a saved adaptation more data and new classes, so that little of what it knew is lost.

    Records that are kept are your data, and lie in the artifact; --memory 0 keeps none.
    """
    with reported():
        from lightadapt.adaptation.on_hub import is_on_hub
        from lightadapt.cli.placing import check_free
        from lightadapt.cli.starting import load_adaptation
        from lightadapt.errors import LightAdaptError

        if out is not None:
            check_free(out)
        elif is_on_hub(adaptation):
            raise LightAdaptError(f"{adaptation} is not a folder here. Say where the result goes: --out FOLDER.")
        adapted = load_adaptation(adaptation, base=base, device=device)
        found = adapted.extend(
            data,
            memory=memory,
            validation=parse_share(validation),
            epochs=epochs,
            learning_rate=learning_rate,
            columns=parse_columns(columns),
        )
        target = Path(adaptation) if out is None else out
        adapted.save(target)
        typer.echo(str(found))
        kept = f", with {len(adapted.remembered)} records" if adapted.remembered else ""
        typer.echo(f"Saved: {target}{kept}")
