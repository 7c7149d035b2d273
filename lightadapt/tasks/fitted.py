"""What a task has learned from data beside the weights."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fitted:
    """What a task has learned from data beside the weights; a task that learns something has a class with fields.

    It is kept beside the settings: those are what the caller chose, this is what `fit` found.
    """
