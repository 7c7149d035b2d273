"""A head whose rows are prototypes: a text is of the class whose row points the way its vector does.

With few labels this is the better reading of the same output layer: a row can start at the mean of its class (Snell et
al. 2017), where a fresh one starts at random; and the vector is pooled as the base was made to be, where transformers'
own heads put a pooler between that few labels cannot teach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy, normalize
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from lightadapt.anatomy.forwards import put_forward
from lightadapt.heads.pooling import Pooling, pool

SCALE = 10.0
"""What a cosine is multiplied by to be a logit: two classes whose cosines are 0.2 apart are told apart with 88 %."""


@dataclass
class PrototypeOutput(SequenceClassifierOutput):
    """What a model with such a head gives, with the texts' vectors beside the logits."""

    vectors: torch.Tensor | None = None
    """`(B, width)`, of length one."""


class Prototypes:
    """Lets a model of transformers for classes read its output layer as prototypes.

    Attributes:
        layer: the path of the output layer in the model; its biases have no say unless it is `linear`.
        pooling: how a vector is made of a text.
        linear: whether the layer is read as it is, rows and biases, on the texts' vectors of length one; else by the
            cosines with its rows.
    """

    def __init__(self, model: PreTrainedModel, layer: str, pooling: Pooling) -> None:
        """Give the model a forward that does so."""
        self.model = model
        self.layer = layer
        self.pooling = pooling
        self.linear = False
        put_forward(model, self.forward)

    @property
    def rows(self) -> torch.Tensor:
        """`(K, width)`: the prototype of each class, of whatever length."""
        rows: torch.Tensor = self.model.get_parameter(f"{self.layer}.weight")
        return rows

    @property
    def has_biases(self) -> bool:
        """Whether the layer has biases, without which it cannot be read as it is."""
        return f"{self.layer}.bias" in dict(self.model.named_parameters())

    @property
    def biases(self) -> torch.Tensor:
        """`(K,)`: the biases of the layer, which count where it is read as it is."""
        biases: torch.Tensor = self.model.get_parameter(f"{self.layer}.bias")
        return biases

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> PrototypeOutput:
        """Logits `(B, K)`: `SCALE` times the cosines, or what a linear layer gives; with `labels` `(B,)` the loss."""
        kwargs.pop("return_dict", None)
        hidden = self.model.base_model(input_ids, attention_mask=attention_mask, **kwargs).last_hidden_state
        if attention_mask is None:
            attention_mask = hidden.new_ones(hidden.shape[:2])
        vectors = normalize(pool(hidden, attention_mask, self.pooling), dim=-1)
        if self.linear:
            logits = vectors @ self.rows.float().T + self.biases.float()
        else:
            logits = SCALE * vectors @ normalize(self.rows.float(), dim=-1).T
        loss = None if labels is None else cross_entropy(logits, labels)
        return PrototypeOutput(loss=loss, logits=logits, vectors=vectors)
