"""What a task has learned from data beside the weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from lightadapt.numbers import check_positive


@dataclass(frozen=True)
class Fitted:
    """What a task has learned from data beside the weights; a task that learns something has a class with fields.

    It is kept beside the settings: those are what the caller chose, this is what `fit` found.
    """

    temperature: float | None = field(default=None, kw_only=True)
    """What logits are divided by so that probabilities are right as often as they say; None: nothing was calibrated."""

    def __post_init__(self) -> None:
        if self.temperature is not None:
            check_positive("temperature", self.temperature)

    def as_json(self) -> dict[str, Any]:
        """The fields; a temperature only where there is one, so that versions that know of none read the others."""
        found = asdict(self)
        return found if self.temperature is not None else {k: v for k, v in found.items() if k != "temperature"}
