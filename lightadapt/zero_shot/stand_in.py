"""What answers in the place of a head that has learned nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn
from transformers import PreTrainedModel

from lightadapt import peft_bridge
from lightadapt.base.weights import Base
from lightadapt.tasks import Encoded, Feature, LabelledTask, ModelView


@dataclass
class StandIn(ABC):
    """What answers in the place of a head that has learned nothing; it goes the way of a task.

    What it gives for an example are logits `(K,)`, one for each label in the order of the head's outputs, which the
    task decodes as it decodes those of a head.
    """

    task: LabelledTask
    base: Base

    @classmethod
    @abstractmethod
    def of(cls, base: Base, task: LabelledTask) -> StandIn | None:
        """One for a task on a base; None where the model cannot be asked in this way. No weight is read."""

    @abstractmethod
    def about(self, task: LabelledTask) -> StandIn:
        """The same for other labels or another prompt: what was computed for those before is left out."""

    def encode(self, examples: Sequence[Any], view: ModelView, *, targets: bool) -> Encoded:
        """The features of the examples; there is nothing to be learned of them, whatever `targets` says."""
        return self.task.encode(examples, view, targets=False)

    def cost(self, feature: Any) -> int:
        """The tokens that inferring from a feature goes through, by which batches are formed."""
        return len(feature)

    @abstractmethod
    def infer(self, model: PreTrainedModel, features: Sequence[Any], view: ModelView) -> list[np.ndarray]:
        """What is found for a batch of features, one each."""

    def decode(
        self, examples: Sequence[Any], features: Sequence[Any], inferred: Sequence[Any], view: ModelView
    ) -> list[Any]:
        """The predictions, one an example, from what was inferred, one a feature."""
        return self.task.decode(examples, features, inferred, view)

    def decode_rows(self, examples: Sequence[Any], rows: Sequence[np.ndarray], view: ModelView) -> list[Any]:
        """The predictions from logits `(K,)`, one row an example."""
        return self.task.decode(examples, [Feature({}, index) for index in range(len(examples))], rows, view)

    def untouched(self, model: nn.Module) -> AbstractContextManager[None]:
        """The model as it was pretrained, inside a `with` block.

        What is inserted may change what is computed before it has learned anything, as a prompt does. Only where the
        rest of the weights was taken for its start does it belong to them.
        """
        return nullcontext() if self.base.design.method.rewrites_base else peft_bridge.switched_off(model)

    def meanings(self, view: ModelView) -> list[tuple[str, ...]]:
        """The wordings of what each label means, in the order of the head's outputs."""
        return self.task.meanings_of(view.outputs)


def mean_of_wordings(values: np.ndarray, wordings: Sequence[Sequence[str]]) -> np.ndarray:
    """`(…, K)` from values `(…, W)` of all wordings of all labels in order: the mean over those of each label."""
    counts = np.array(list(map(len, wordings)))
    starts = np.cumsum([0, *counts])[:-1]
    found: np.ndarray = np.add.reduceat(values, starts, axis=-1) / counts
    return found
