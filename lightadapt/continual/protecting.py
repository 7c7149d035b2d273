"""The loss of a step: what its records answer is learned, and what the model knew stays where nothing speaks of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from lightadapt.adaptation.prediction import run_model
from lightadapt.adaptation.runner import Runner
from lightadapt.tasks import ModelView
from lightadapt.tasks.encoding.features import IGNORED
from lightadapt.tasks.losses.answered import (
    binary_cross_entropy_among,
    cross_entropy_among,
    distance_to_before,
    tag_cross_entropy_among,
)
from lightadapt.tasks.losses.objective import Objective

PLACE = "place"
"""The target that says which feature of the step a row of a batch is."""
HOLD_WITH_MEMORY, HOLD_WITHOUT = 1.0, 3.0
"""What the distance to the model before the step weighs beside what is learned, by whether records are replayed."""
OUTSIDE = "O"


@dataclass(frozen=True)
class StepFeatures:
    """The features that a step learns from, those of its own records first, each with its place as a target."""

    features: Sequence[Any]
    answered: torch.Tensor
    """`(N, K)`: of which outputs a feature speaks."""
    before: Sequence[np.ndarray] | None
    """What the model gave before the step, `(K,)` or `(T, K)` each; NaN for outputs that are new. None: not asked."""

    def before_of(self, places: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
        """What the model gave before for a batch of that shape, `(B, K)` or `(B, T, K)`."""
        assert self.before is not None
        found = torch.full(tuple(shape), float("nan"))
        for row, place in enumerate(places.tolist()):
            mine = torch.from_numpy(self.before[place])
            found[row, : len(mine)] = mine
        return found


def numbered(features: Sequence[Any]) -> list[Any]:
    """The features, each with its place among them as a target."""
    return [replace(each, targets={**each.targets, PLACE: place}) for place, each in enumerate(features)]


def given_before(runner: Runner, features: Sequence[Any], view: ModelView) -> list[np.ndarray]:
    """What the model gives for the features now, by the outputs of a later view; NaN for those that it lacks."""
    known, task = runner.view, runner.task
    columns = [list(view.outputs).index(name) for name in known.outputs]
    plain = [replace(each, targets={}) for each in features]
    inferred = run_model(
        runner.model,
        plain,
        list(map(len, plain)),
        lambda batch: task.infer(runner.model, batch, known),
    )
    found = []
    for logits in inferred:
        wide = np.full((*logits.shape[:-1], len(view.outputs)), np.nan, dtype=np.float32)
        wide[..., columns] = logits
        found.append(wide)
    return found


def loss_of(step: StepFeatures, view: ModelView, *, hold: float) -> Objective:
    """The loss of a step for a head with outputs: one answer a record, several, or one a token.

    Args:
        hold: what the distance to the model before weighs.
    """
    first = step.features[0].targets["labels"]
    if isinstance(first, int):
        terms = _single(hold=hold)
    elif isinstance(first[0], float):
        terms = _several
    else:
        terms = _tags(list(view.outputs).index(OUTSIDE), hold=hold)

    def loss(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        given = model(**{name: value for name, value in batch.items() if name not in ("labels", PLACE)})
        logits, places = given.logits.float(), batch[PLACE].cpu()
        before = None if step.before is None else step.before_of(places, logits.shape).to(logits.device)
        return terms(logits, batch["labels"], step.answered[places].to(logits.device), before)

    return loss


Terms = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, "torch.Tensor | None"], torch.Tensor]
"""The loss from the logits, the labels, what is answered, and the logits of before."""


def _single(*, hold: float) -> Terms:
    def terms(
        logits: torch.Tensor, labels: torch.Tensor, answered: torch.Tensor, before: torch.Tensor | None
    ) -> torch.Tensor:
        found = cross_entropy_among(logits, labels, answered)
        return found if before is None else found + hold * distance_to_before(logits, before)

    return terms


def _several(
    logits: torch.Tensor, labels: torch.Tensor, answered: torch.Tensor, before: torch.Tensor | None
) -> torch.Tensor:
    return binary_cross_entropy_among(logits, labels, answered, before)


def _tags(outside: int, *, hold: float) -> Terms:
    def terms(
        logits: torch.Tensor, labels: torch.Tensor, answered: torch.Tensor, before: torch.Tensor | None
    ) -> torch.Tensor:
        found = tag_cross_entropy_among(logits, labels, answered, outside)
        if before is None:
            return found
        # Where the record names an entity, the model of before has nothing to say.
        return found + hold * distance_to_before(logits, before, (labels == outside) & (labels != IGNORED))

    return terms
