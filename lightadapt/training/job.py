"""What a training run is given to do, whatever the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn
from transformers import PreTrainedModel

from lightadapt.machine.processes import Gate

Batch: TypeAlias = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How the model is scored within a run."""

    score: Callable[[], dict[str, float]]
    """Computes the metrics, headline first."""
    names: Callable[[], list[str]]
    """What the metrics are called, found on a few records."""
    headline: str
    greater_is_better: bool


@dataclass(frozen=True, kw_only=True)
class Job:
    """A model, what it learns from, and where that is kept."""

    model: PreTrainedModel
    blocks: Sequence[nn.Module]
    """All blocks of the model: what is compiled, and where it is cut when each process is to hold a part of it."""
    first_stack: Sequence[nn.Module] | None
    """The blocks of which hidden states may be kept over the epochs, in the order in which they run."""
    trains_base: bool
    """Whether weights of the base itself learn."""
    head: frozenset[str]
    """The parameters of the head, which have a learning rate of their own."""

    features: Sequence[Any]
    """The encoded training records, each with a length in tokens."""
    place: Callable[[int], str]
    """Names the record that a feature is of."""
    collate: Callable[[Sequence[Any]], Batch]
    objective: Callable[[PreTrainedModel, Batch], torch.Tensor] | None
    """The loss; None: the model's own."""
    weigh: Callable[[Batch], torch.Tensor]
    """What the loss of a batch weighs where several batches make one step."""
    validation: Validation | None

    rest: Callable[[], None]
    """Puts what is frozen into evaluation mode; called when a step has put all into training mode."""
    before_step: Callable[[], None]
    """Called when the gradients of a step are there."""
    save: Callable[[Path, Gate, Mapping[str, float] | None], None]
    """Writes an artifact with these validation metrics; all processes call it, and the gate decides which writes."""
    load: Callable[[Path], None]

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of every feature; told once, since features may lie in a file."""
        return list(map(len, self.features))

    @property
    def size(self) -> dict[str, int]:
        """Sequences and tokens of an epoch."""
        return {"sequences": len(self.features), "tokens": self.tokens}

    @property
    def tokens(self) -> int:
        """Real tokens of an epoch."""
        return sum(self.lengths)
