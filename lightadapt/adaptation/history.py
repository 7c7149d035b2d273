"""What a training run was: losses, scores per epoch, time, speed and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class History:
    """The record of one `fit`."""

    losses: list[tuple[int, float]] = field(default_factory=list)
    """(step, mean training loss since the one before)."""
    epochs: list[dict[str, float]] = field(default_factory=list)
    """Validation metrics at each evaluation, with `epoch` and `step`."""
    best: dict[str, float] | None = None
    """The evaluation whose weights were kept; None without validation data."""
    steps: int = 0
    seconds: float = 0.0
    """Wall time of this call, evaluations included."""
    tokens_per_second: float = 0.0
    """Real tokens (no padding) trained on per second of training, evaluations not included."""
    padding: float = 0.0
    """Share of padding among all tokens that the model computed in training."""
    peak_memory: int = 0
    """Bytes: the most that was allocated on the GPU, or the highest resident memory of the process seen."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Epochs, learning rates, batch tokens, seed, optimizer and processes as they were used; `cached_blocks`, and in
    `not_cached` why there are none where it was tried."""

    @property
    def best_scores(self) -> dict[str, float]:
        """The metrics of the evaluation whose weights were kept, headline first; empty without one."""
        return {name: value for name, value in (self.best or {}).items() if name not in ("epoch", "step")}

    def __str__(self) -> str:
        parts = [f"{self.steps} steps in {self.seconds:.1f} s", f"{self.tokens_per_second:,.0f} tokens/s"]
        if self.losses:
            parts.append(f"loss {self.losses[-1][1]:.4f}")
        parts += [f"best {name} {value:.4f}" for name, value in list(self.best_scores.items())[:1]]
        return ", ".join(parts)


@dataclass(frozen=True)
class LastRun:
    """What is known of the last training of an adaptation, here or before it was saved."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """As they were used, with the numbers of records and steps."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """On the validation data."""
    history: History | None = None
    """The record of it; None where it was not in this process."""
