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

from lightadapt import peft_bridge
from lightadapt.heads.pooling import Pooling
from lightadapt.tasks import Feature, ModelView
from lightadapt.tasks.classification import Classification
from lightadapt.tasks.encoding.texts import TextExample

SCALE = 20.0
"""What a cosine is multiplied by, as where such encoders are trained (sentence-transformers' default)."""


@dataclass
class ZeroShot:
    """What stands in for a head that has learned nothing."""

    task: Classification
    pooling: Pooling
    _classes: np.ndarray | None = None
    """A vector of length one for each output, `(K, width)`, once it was needed."""

    def infer(self, model: PreTrainedModel, features: Sequence[Feature], view: ModelView) -> list[np.ndarray]:
        """`SCALE` times the cosines with all classes, `(K,)` for each feature, in the order of the outputs."""
        if self._classes is None:
            self._classes = self._vectors_of_classes(model, view)
        cosines: np.ndarray = self._vectors(model, features, view) @ self._classes.T
        return list(SCALE * cosines)

    def _vectors_of_classes(self, model: PreTrainedModel, view: ModelView) -> np.ndarray:
        """The mean of the vectors of what a class is described as, for each output."""
        meanings = dict(zip(map(str, self.task.labels or ()), self.task.meanings(), strict=True))
        rows = []
        for name in view.outputs:
            examples = [TextExample(text, None, None) for text in meanings[name]]
            features = self.task.encode(examples, view, targets=False).features
            for feature in features:  # not every model takes them, and one text needs none
                feature.inputs.pop("token_type_ids", None)
            rows.append(self._vectors(model, features, view).mean(0))
        return _of_length_one(np.stack(rows))

    def _vectors(self, model: PreTrainedModel, features: Sequence[Feature], view: ModelView) -> np.ndarray:
        """Vectors of length one, `(B, width)`."""
        plain = [replace(feature, targets={}) for feature in features]
        batch = {name: value.to(model.device) for name, value in self.task.collate(plain, view).items()}
        # A prompt changes the vectors before it has learned anything.
        with torch.no_grad(), peft_bridge.switched_off(model):
            hidden = model.base_model(**batch).last_hidden_state.float()  # (B, T, width)
        if self.pooling == "cls":
            vectors = hidden[:, 0]
        else:
            real = batch["attention_mask"][..., None].to(hidden.dtype)
            vectors = (hidden * real).sum(1) / real.sum(1)
        return _of_length_one(vectors.cpu().numpy())


def _of_length_one(vectors: np.ndarray) -> np.ndarray:
    found: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return found
