"""`lightadapt env`."""

from __future__ import annotations

import typer

from lightadapt.cli.reporting import reported


def env() -> None:
    """Versions, processor, GPU, bf16, and what is optional and missing: what a bug report should show."""
    with reported():
        from lightadapt.machine.environment import describe_environment

        for name, value in describe_environment().items():
            typer.echo(f"{name:<19} {value}")
