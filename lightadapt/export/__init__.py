"""The forms in which an adaptation leaves, one file each, and how a name finds one."""

from __future__ import annotations

from typing import Any

from lightadapt.export.exported import Exported
from lightadapt.export.exporting import export, format_of
from lightadapt.export.format import KNOWN_FORMATS, Format
from lightadapt.registry import own_classes

FORMATS: dict[str, type[Format]] = own_classes(__name__, KNOWN_FORMATS)
"""Ours, by name; those of the caller come on top."""

__all__ = ["FORMATS", "Exported", "Format", "export", "format_of"]


def __getattr__(name: str) -> Any:
    """The classes of the formats themselves, each of which is known from its own file on."""
    found = {known.__name__: known for known in FORMATS.values()}
    if name not in found:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found[name]
