"""Losses for records that do not speak of all outputs, since they were labelled when there were fewer, or others.

The names of the arguments: `labels` as the task's own targets are, and `answered`, `(B, K)`, which says of each output
whether the record would have told if it held. What it does not speak of is neither right nor wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightadapt.tasks.encoding.features import IGNORED

if TYPE_CHECKING:
    import torch


def cross_entropy_among(logits: torch.Tensor, labels: torch.Tensor, answered: torch.Tensor) -> torch.Tensor:
    """Cross entropy of `(B, K)` with labels `(B,)` over the outputs that a record speaks of, the mean over records.

    The outputs of other steps get no gradient: it would push them down, since no record of theirs is there to pull.
    """
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits.masked_fill(~answered, -float("inf")), labels)


def binary_cross_entropy_among(
    logits: torch.Tensor, labels: torch.Tensor, answered: torch.Tensor, before: torch.Tensor | None
) -> torch.Tensor:
    """Binary cross entropy of `(B, K)`, the mean over all outputs that count.

    Args:
        before: logits `(B, K)` of the model as it was before, whose probabilities stand for the answers that are not
            there; None: those outputs do not count.
    """
    from torch.nn.functional import binary_cross_entropy_with_logits

    counts = answered if before is None else answered | before.isfinite()
    targets = labels.float() if before is None else labels.float().where(answered, before.sigmoid())
    losses = binary_cross_entropy_with_logits(logits, targets.nan_to_num(), reduction="none")
    return (losses * counts).sum() / counts.sum().clamp_min(1)


def tag_cross_entropy_among(
    logits: torch.Tensor, labels: torch.Tensor, answered: torch.Tensor, outside: int
) -> torch.Tensor:
    """Cross entropy of `(B, T, K)` with tags `(B, T)`, the mean over tokens that have one.

    "Outside", where a record does not speak of some types, means outside or one of those: the probability of the tag is
    the sum of theirs (Cermelli et al. 2020, "Modeling the Background for Incremental Learning in Semantic
    Segmentation", equation 5).

    Args:
        outside: the number of that tag.
    """
    counts = labels != IGNORED
    chosen = labels.where(counts, labels.new_full((), outside))
    hidden = ~answered
    hidden[:, outside] = True
    either = logits.masked_fill(~hidden[:, None], -float("inf")).logsumexp(-1)  # (B, T)
    single = logits.gather(-1, chosen[..., None])[..., 0]
    right = either.where(chosen == outside, single)
    losses = logits.logsumexp(-1) - right
    return (losses * counts).sum() / counts.sum().clamp_min(1)


def distance_to_before(logits: torch.Tensor, before: torch.Tensor, counts: torch.Tensor | None = None) -> torch.Tensor:
    """KL(before || now) over the outputs that there were before (Li and Hoiem 2016, "Learning without Forgetting").

    Args:
        logits: `(…, K)`.
        before: `(…, K)`; what is not finite was not there.
        counts: `(…)`, which rows count; None: all.
    """
    there = before.isfinite()
    old = before.masked_fill(~there, -float("inf")).log_softmax(-1)
    now = logits.masked_fill(~there, -float("inf")).log_softmax(-1)
    terms = (old.exp() * (old - now)).masked_fill(~there, 0.0).sum(-1)
    if counts is None:
        return terms.mean()
    return (terms * counts).sum() / counts.sum().clamp_min(1)
