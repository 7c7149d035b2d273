"""Classes told apart by what they are called or described as, before anything was learned.

An encoder that was trained so that its vectors can be compared gives the text of a class and a text that belongs to it
vectors that point the same way (Yin et al. 2019). Their cosines stand in for the outputs of the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import PreTrainedModel

from lightadapt.anatomy import family_of
from lightadapt.base.pooling import pooling_of
from lightadapt.base.vectors import vectors_of_batch, vectors_of_meanings
from lightadapt.base.weights import Base
from lightadapt.heads.pooling import Pooling
from lightadapt.tasks import Feature, LabelledTask, ModelView
from lightadapt.tasks.decoding.probabilities import log_softmax
from lightadapt.tasks.encoding.texts import TextExample
from lightadapt.tasks.multilabel import MultiLabel
from lightadapt.zero_shot.stand_in import StandIn

SCALE = 20.0
"""What a cosine is multiplied by, as where such encoders are trained (sentence-transformers' default)."""
ENOUGH = 0.15
"""The share of all labels together from which a label holds where several may: on texts of five data sets that were
joined in pairs, and on GoEmotions, the threshold that was best for all of them together."""

AT_ONCE = 64
"""Wordings of labels that are computed together."""


@dataclass
class Similarity(StandIn):
    """The cosines of a text with what the labels mean."""

    pooling: Pooling
    _classes: np.ndarray | None = None
    """A vector of length one for each output, `(K, width)`, once it was needed."""

    @classmethod
    def of(cls, base: Base, task: LabelledTask) -> Similarity | None:
        source = base.blueprint.source
        pooling = pooling_of(source) if family_of(source.config) == "encoder" else None
        return None if pooling is None else cls(task, base, pooling)

    def about(self, task: LabelledTask) -> Similarity:
        return replace(self, task=task, _classes=None)

    def infer(self, model: PreTrainedModel, features: Sequence[Feature], view: ModelView) -> list[np.ndarray]:
        """`SCALE` times the cosines with all classes, `(K,)` for each feature; log odds where several may hold."""
        if self._classes is None:
            self._classes = self._vectors_of_classes(model, view)
        scores: np.ndarray = SCALE * self._vectors(model, features, view) @ self._classes.T
        return list(log_odds_of_each(scores) if isinstance(self.task, MultiLabel) else scores)

    def _vectors_of_classes(self, model: PreTrainedModel, view: ModelView) -> np.ndarray:
        """The direction of what a class is described as, for each output."""

        def vectors_of(examples: Sequence[TextExample]) -> np.ndarray:
            features = self.task.encode(examples, view, targets=False).features
            for feature in features:  # not every model takes them, and one text needs none
                feature.inputs.pop("token_type_ids", None)
            starts = range(0, len(features), AT_ONCE)
            return np.concatenate([self._vectors(model, features[each : each + AT_ONCE], view) for each in starts])

        return vectors_of_meanings(self.meanings(view), vectors_of, model.config.get_text_config().hidden_size)

    def _vectors(self, model: PreTrainedModel, features: Sequence[Feature], view: ModelView) -> np.ndarray:
        """Vectors of length one, `(B, width)`."""
        with torch.no_grad(), self.untouched(model):
            return np.stack(vectors_of_batch(model, self.task, features, view, self.pooling))


def log_odds_of_each(scores: np.ndarray) -> np.ndarray:
    """Log odds `(B, K)` of each label against all others together, zero where its share of them is `ENOUGH`.

    logit_k = log(p_k / (1 - p_k)) - log(s / (1 - s)), with p = softmax(scores) and s = `ENOUGH`. Cosines themselves
    have no threshold that suits two models, or two sets of labels; what a label has of them all together has one.
    A label alone, which has nothing to be compared with, gets its score as it is.
    """
    if scores.shape[1] < 2:
        return scores
    shares = log_softmax(scores, axis=1)
    others = np.stack([_log_sum(np.delete(shares, column, axis=1)) for column in range(shares.shape[1])], axis=1)
    found: np.ndarray = shares - others - np.log(ENOUGH / (1 - ENOUGH))
    return found


def _log_sum(logs: np.ndarray) -> np.ndarray:
    """log(sum(exp(logs))) of each row."""
    most = logs.max(1, keepdims=True)
    found: np.ndarray = most[:, 0] + np.log(np.exp(logs - most).sum(1))
    return found
