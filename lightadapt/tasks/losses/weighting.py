"""Losses for classes that are not equally frequent, and for labels that are not certain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from lightadapt.errors import LightAdaptError, nearest
from lightadapt.numbers import check_number, is_number
from lightadapt.tasks.losses.objective import Objective, Weigher

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

ClassWeights: TypeAlias = "Literal['balanced'] | Mapping[str, float] | None"


def check_weighting(class_weights: ClassWeights, label_smoothing: float) -> None:
    """Raise for weights or a smoothing that mean nothing."""
    if isinstance(class_weights, Mapping):
        wrong = [weight for weight in class_weights.values() if not is_number(weight) or not 1e-6 <= weight <= 1e6]
        if wrong:
            raise LightAdaptError(f"class_weights holds {wrong[0]!r}. A weight is a number between 1e-6 and 1e6.")
    elif class_weights not in (None, "balanced"):
        raise LightAdaptError(f"class_weights={class_weights!r}: give 'balanced', or a dict {{label: weight}}.")
    check_number("label_smoothing", label_smoothing, least=0, below=1)


def resolve_weights(
    class_weights: ClassWeights, outputs: Sequence[str], balanced: Callable[[], np.ndarray]
) -> np.ndarray | None:
    """The weight of each output `(K,)`, what `balanced` gives for that word; None without weights.

    Raises:
        LightAdaptError: a dict names a label that there is not.
    """
    if isinstance(class_weights, Mapping):
        return _weights_of(class_weights, outputs)
    return None if class_weights is None else balanced()


def _weights_of(class_weights: Mapping[str, float], outputs: Sequence[str]) -> np.ndarray:
    """The weight of each output `(K,)`; 1 for those that the dict does not name."""
    given = {str(label): float(weight) for label, weight in class_weights.items()}
    unknown = [label for label in given if label not in outputs]
    if unknown:
        raise LightAdaptError(
            f"class_weights names {unknown[0]!r}, which is not among the labels. {nearest(unknown[0], outputs)}"
            f"Labels: {', '.join(outputs)}."
        )
    return np.array([given.get(name, 1.0) for name in outputs])


def balanced_weights(counts: np.ndarray) -> np.ndarray:
    """N / (K n_k) for class counts n `(K,)`, so that every class weighs the same (King and Zeng, 2001).

    A class without a record has no say, whatever its weight; it gets 1.
    """
    occurring = counts > 0
    weights = np.ones(len(counts))
    weights[occurring] = counts.sum() / (occurring.sum() * counts[occurring])
    return weights


def presence_weights(counts: np.ndarray, records: int) -> np.ndarray:
    """(N - n_k) / n_k for the counts n `(K,)` of labels in N records: presence weighs as much as absence in all.

    A label of no record or of all has nothing to be balanced with; it gets 1.
    """
    mixed = (counts > 0) & (counts < records)
    return np.where(mixed, (records - counts) / np.maximum(counts, 1), 1.0)


def weighted_cross_entropy(weights: np.ndarray | None, smoothing: float) -> Objective:
    """Cross entropy over one label a row, each row weighing as its class `(K,)` says (Szegedy et al., 2016)."""
    from torch.nn.functional import cross_entropy

    def criterion(logits: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        return cross_entropy(logits, labels, weight=weight, label_smoothing=smoothing)

    return _objective(criterion, weights)


def weight_of_labels(weights: np.ndarray) -> Weigher:
    """What `weighted_cross_entropy` divides the loss of a batch by: the weights of its labels."""
    import torch

    table = torch.tensor(weights, dtype=torch.float32)
    return lambda batch: table.to(batch["labels"].device)[batch["labels"]].sum()


def weighted_binary_cross_entropy(weights: np.ndarray | None, smoothing: float) -> Objective:
    """Binary cross entropy over `(B, K)`, where the presence of label k weighs `weights[k]` times its absence."""
    from torch.nn.functional import binary_cross_entropy_with_logits

    def criterion(logits: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        target = labels.float() * (1 - smoothing) + smoothing / 2
        return binary_cross_entropy_with_logits(logits, target, pos_weight=weight)

    return _objective(criterion, weights)


def _objective(
    criterion: Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor], weights: np.ndarray | None
) -> Objective:
    """The criterion between a model's logits and the labels of a batch, with the weights `(K,)` if there are any."""
    import torch

    table = None if weights is None else torch.tensor(weights, dtype=torch.float32)

    def loss(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        logits = model(**inputs).logits.float()
        return criterion(logits, batch["labels"], None if table is None else table.to(logits.device))

    return loss
