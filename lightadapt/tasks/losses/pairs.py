"""A loss for few labels: texts of one class point the same way, and those of two classes at right angles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightadapt.tasks.losses.objective import Objective

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def pair_loss(vectors: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """How far the cosines of all pairs of a batch are from 1 for two texts of a class, and from 0 for others, squared.

    Both kinds of pairs weigh the same, however many there are; a kind that the batch has not gives 0. SetFit (Tunstall
    et al. 2022) learns by the same differences, of pairs that it draws beforehand.

    Args:
        vectors: of length one, `(B, width)`.
        labels: `(B,)`.
    """
    import torch

    cosines = vectors @ vectors.T  # (B, B)
    alike = labels[:, None] == labels
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    halves = [
        ((cosines - wanted).square() * pairs).sum() / pairs.sum().clamp_min(1)
        for pairs, wanted in ((alike & ~itself, 1.0), (~alike, 0.0))
    ]
    return (halves[0] + halves[1]) / 2


def with_pairs(weights: np.ndarray | None, smoothing: float, share: float = 1.0) -> Objective:
    """Cross entropy with the loss of pairs beside it.

    Args:
        weights: of the classes `(K,)` in the cross entropy; None: all weigh the same.
        smoothing: the share of each target that is spread over all classes.
        share: what the loss of pairs weighs.
    """
    import torch
    from torch.nn.functional import cross_entropy

    table = None if weights is None else torch.tensor(weights, dtype=torch.float32)

    def loss(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        labels = batch["labels"]
        given = model(**{name: value for name, value in batch.items() if name != "labels"})
        weight = None if table is None else table.to(given.logits.device)
        told_apart = cross_entropy(given.logits.float(), labels, weight=weight, label_smoothing=smoothing)
        return told_apart + share * pair_loss(given.vectors, labels) if share else told_apart

    return loss
