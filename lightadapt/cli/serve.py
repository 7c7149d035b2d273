"""`lightadapt serve`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from lightadapt.cli.reporting import reported
from lightadapt.errors import LightAdaptError, shown

KERNELS = "256"
"""How many kernels oneDNN, and torch beside it, keep. With their 1,024 each they come to hundreds of megabytes, and no
request is faster; with 64, a tenth of the time goes into building them anew."""
KEEPERS = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""The environment variables that say so, of the one and the other."""


def serve(
    adaptations: Annotated[
        list[str], typer.Argument(help="Folders of saved adaptations, called as the folder is, or name=folder.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every one of this machine.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes one that is free.")] = 8000,
    max_wait_ms: Annotated[float, typer.Option(help="How long a request waits to be computed with others.")] = 2.0,
    batch_records: Annotated[int, typer.Option(help="The most records that are computed together.")] = 256,
    decode_tokens: Annotated[int, typer.Option(help="The most tokens of texts that are written at once.")] = 16_384,
    queue_records: Annotated[int, typer.Option(help="The most records that wait.")] = 4_096,
    request_records: Annotated[int, typer.Option(help="The most records of one request.")] = 1_024,
    timeout: Annotated[float, typer.Option(help="Seconds after which a request is given up.")] = 60.0,
    max_new_tokens: Annotated[int, typer.Option(help="The most tokens that a request may have generated.")] = 1_024,
    max_loaded: Annotated[
        int | None, typer.Option(help="The most adaptations of a base in memory; others come when asked for.")
    ] = None,
    adapters: Annotated[
        Path | None, typer.Option(help="Folder from which adaptations may be added while it runs.")
    ] = None,
    feedback: Annotated[Path | None, typer.Option(help="Folder for corrections, which are taken then.")] = None,
    base: Annotated[str | None, typer.Option(help="Where the base model is now, if not where it was.")] = None,
    quantize: Annotated[str | None, typer.Option(help="4bit, 8bit, or none for a base that was quantized.")] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu or cuda.")] = "auto",
) -> None:
    """Answer over HTTP with saved adaptations, which share the weights of their base.

    LIGHTADAPT_API_KEYS in the environment has the keys that requests need, with commas between them.
    """
    told = {"port=": "--port ", "host=": "--host ", "adapters=": "--adapters ", "feedback=": "--feedback "}
    with reported(told, forms=False):  # the log of the server is lines of JSON
        # Read when torch first computes. A kernel is built for each shape of a batch, and a server sees thousands.
        for keeper in KEEPERS:
            os.environ.setdefault(keeper, KERNELS)
        from lightadapt.serving.server import serve as run

        run(
            named(adaptations),
            host=host,
            port=port,
            base=base,
            quantize=quantize,
            device=device,
            max_wait_ms=max_wait_ms,
            batch_records=batch_records,
            decode_tokens=decode_tokens,
            queue_records=queue_records,
            request_records=request_records,
            timeout=timeout,
            max_new_tokens=max_new_tokens,
            max_loaded=max_loaded,
            adapters=adapters,
            feedback=feedback,
        )


def named(folders: Sequence[str]) -> dict[str, str]:
    """The folders by name: that of the folder, or what stands before `=`.

    Raises:
        LightAdaptError: two have one name.

    >>> named(["runs/my-ner", "intents=runs/7"])
    {'my-ner': 'runs/my-ner', 'intents': 'runs/7'}
    """
    found: dict[str, str] = {}
    for text in folders:
        name, equals, folder = text.partition("=")
        if not equals or Path(text).is_dir():
            name, folder = Path(text).absolute().name, text
        if name in found:
            raise LightAdaptError(
                f"Two adaptations are called {shown(name)}: {found[name]} and {folder}. Give one another name: "
                f"{shlex.quote(f'other={folder}')}"
            )
        found[name] = folder
    return found
