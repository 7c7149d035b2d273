"""What is minimised: the loss of a batch, and what it weighs beside those of other batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from lightadapt.tasks.encoding.features import IGNORED

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Objective: TypeAlias = "Callable[[PreTrainedModel, dict[str, torch.Tensor]], torch.Tensor]"
"""Computes the loss of a batch with a model."""
Weigher: TypeAlias = "Callable[[dict[str, torch.Tensor]], torch.Tensor]"
"""Tells what the loss of a batch is divided by: the number of targets, or the sum of their weights."""


def count_targets(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The targets of a batch: the labels that are not ignored where every token may have one, else the rows."""
    labels = batch.get("labels")
    if labels is None or labels.ndim == 1 or labels.is_floating_point():
        some = next(iter(batch.values()))
        return some.new_tensor(len(some))
    return (labels != IGNORED).sum()
