"""Releases of what lightadapt stands on: those outside of what it was tested with are named."""

from __future__ import annotations

from functools import cache
from importlib import metadata

from packaging.requirements import Requirement

from lightadapt.errors import warn

STANDS_ON = ("torch", "transformers", "peft", "accelerate", "datasets")


@cache
def warn_of_untested() -> None:
    """Warn, once in a process, when an installed release is none that the requirements of lightadapt allow.

    pip installs such a pair where another package asks for it, or where it is told to look at no dependencies.
    """
    try:
        wanted = [Requirement(line) for line in metadata.requires("lightadapt") or ()]
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        return
    for each in wanted:
        if each.name in STANDS_ON and not each.specifier.contains(
            found := metadata.version(each.name), prereleases=True
        ):
            warn(
                f"{each.name} {found} is installed, and lightadapt was not tested with it. "
                f'Install one that it was: pip install "{each.name}{each.specifier}"'
            )
