"""A loss for few labels: texts of one class come closer to each other than to any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightadapt.tasks.losses.objective import Objective

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

TEMPERATURE = 0.1
"""What cosines are divided by, as in Khosla et al. (2020)."""


def supervised_contrast(vectors: torch.Tensor, labels: torch.Tensor, temperature: float = TEMPERATURE) -> torch.Tensor:
    """The supervised contrastive loss (Khosla et al. 2020, L_out) of a batch; 0 where no two rows share a label.

    Args:
        vectors: of length one, `(B, width)`.
        labels: `(B,)`.
    """
    import torch

    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    similar = vectors @ vectors.T / temperature  # (B, B)
    likelihood = similar - similar.masked_fill(itself, -torch.inf).logsumexp(1, keepdim=True)
    alike = (labels[:, None] == labels) & ~itself
    partners = alike.sum(1)
    of_each = -(likelihood * alike).sum(1) / partners.clamp_min(1)
    some = partners > 0
    return of_each[some].mean() if bool(some.any()) else vectors.sum() * 0


def contrasting(weights: np.ndarray | None, smoothing: float, contrast: float = 1.0) -> Objective:
    """Cross entropy with a supervised contrast of the texts' vectors beside it.

    Args:
        weights: of the classes `(K,)` in the cross entropy; None: all weigh the same.
        smoothing: the share of each target that is spread over all classes.
        contrast: what the contrast weighs.
    """
    import torch
    from torch.nn.functional import cross_entropy

    table = None if weights is None else torch.tensor(weights, dtype=torch.float32)

    def loss(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        labels = batch["labels"]
        given = model(**{name: value for name, value in batch.items() if name != "labels"})
        weight = None if table is None else table.to(given.logits.device)
        told_apart = cross_entropy(given.logits.float(), labels, weight=weight, label_smoothing=smoothing)
        return told_apart + contrast * supervised_contrast(given.vectors, labels) if contrast else told_apart

    return loss
