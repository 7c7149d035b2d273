"""`lightadapt env`."""

from __future__ import annotations

import typer

from lightadapt.cli.reporting import reported


def env() -> None:
    """Versions, processor, GPU, bf16, and what is optional and missing: what a bug report should show."""
    with reported():
        from lightadapt.machine.environment import describe_environment

        found = describe_environment()
        width = max(map(len, found))
        for name, value in found.items():
            typer.echo(f"{name:<{width}}  {value}")
