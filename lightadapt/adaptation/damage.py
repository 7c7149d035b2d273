"""What other libraries raise over the content of an artifact, told as damage of the artifact."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from lightadapt.errors import ArtifactError, LightAdaptError

WRONG_VALUES = (
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What values that no save wrote end in, in PEFT, transformers or torch."""


@contextmanager
def as_damage(folder: Path, what: str) -> Iterator[None]:
    """Say of whatever fails in a block that the artifact cannot be used; errors of lightadapt pass.

    Raises:
        ArtifactError: with what failed.
    """
    try:
        yield
    except (LightAdaptError, MemoryError, torch.OutOfMemoryError):
        raise
    except WRONG_VALUES as error:
        raise ArtifactError(f"{folder}: {what} cannot be used ({reason_of(error)}). Save or copy it again.") from error


def reason_of(error: Exception) -> str:
    """The kind of an error and the beginning of what it says; of one of ours what it says."""
    return f"{type(error).__name__}: {str(error)[:200]}" if not isinstance(error, LightAdaptError) else str(error)
