"""`lightadapt merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightadapt.cli.reporting import reported


def merge(
    adaptation: Annotated[Path, typer.Argument(help="Folder of a saved adaptation.")],
    out: Annotated[Path, typer.Option(help="Folder for the plain transformers model.")],
    base: Annotated[str | None, typer.Option(help="Where the base model is now, if not where it was.")] = None,
    fold: Annotated[
        str, typer.Option(help="What a quantized base is folded into: reload, dequantize or quantized.")
    ] = "reload",
    dtype: Annotated[str, typer.Option(help="Number format of the result.")] = "auto",
    device: Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")] = "auto",
) -> None:
    """Fold a saved adaptation into its base: a plain transformers model that needs neither lightadapt nor PEFT."""
    with reported({"base=": "--fold ", "dtype=": "--dtype "}):
        from lightadapt.cli.placing import check_free
        from lightadapt.cli.starting import load_adaptation
        from lightadapt.machine.quiet import quiet

        check_free(out, overwrite=None)
        adapted = load_adaptation(adaptation, base=base, device=device)
        merged = adapted.merge(base=fold, dtype=dtype)
        with quiet():
            merged.save_pretrained(out)
        adapted.tokenizer.save_pretrained(out)
        typer.echo(f"{out}: {type(merged).__name__}, {str(merged.dtype).removeprefix('torch.')}")
