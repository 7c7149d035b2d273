"""A head whose rows are prototypes: a text is of the class whose row points the way its vector does.

With few labels this is the better reading of the same output layer: a row can start at the mean of its class (Snell et
al. 2017), where a fresh one starts at random; and the vector is pooled as the base was made to be, where transformers'
own heads put a pooler between that few labels cannot teach.

Where several labels may hold, a text is shared out among them, and a label holds from a share on. Learned one by one,
labels of few records stay below the threshold, since each holds so seldom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy, logsigmoid, normalize
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from lightadapt.anatomy.forwards import put_forward
from lightadapt.heads.pooling import Pooling, pool

SCALE = 10.0
"""What a cosine is multiplied by to be a logit: two classes whose cosines are 0.2 apart are told apart with 88 %."""
SHARE = 0.1
"""Of a text, from which a label holds where several may: of 0.1, 0.15, 0.2 and 0.3 the best on training records of
GoEmotions and of the sample domain that 8 records a label were not drawn from."""
AT_SHARE = math.log(SHARE / (1 - SHARE))
"""The log odds of that share."""


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
        several: whether several labels may hold.
    """

    def __init__(self, model: PreTrainedModel, layer: str, pooling: Pooling) -> None:
        """Give the model a forward that does so."""
        self.model = model
        self.layer = layer
        self.pooling = pooling
        self.linear = False
        self.several = model.config.problem_type == "multi_label_classification"
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
        """Logits `(B, K)`: `SCALE` times the cosines, or what a linear layer gives; with `labels` the loss.

        Labels are `(B,)`; where several may hold they are `(B, K)`, and logits are those of `log_odds_of_shares`.
        """
        kwargs.pop("return_dict", None)
        hidden = self.model.base_model(input_ids, attention_mask=attention_mask, **kwargs).last_hidden_state
        if attention_mask is None:
            attention_mask = hidden.new_ones(hidden.shape[:2])
        vectors = normalize(pool(hidden, attention_mask, self.pooling), dim=-1)
        if self.linear:
            logits = vectors @ self.rows.float().T + self.biases.float()
        else:
            logits = SCALE * vectors @ normalize(self.rows.float(), dim=-1).T
        logits = log_odds_of_shares(logits) if self.several else logits
        loss_of = loss_of_shares if self.several else cross_entropy
        loss = None if labels is None else loss_of(logits, labels)
        return PrototypeOutput(loss=loss, logits=logits, vectors=vectors)


def log_odds_of_shares(scores: torch.Tensor) -> torch.Tensor:
    """Log odds `(B, K)` of each label against all others, zero where its share p_k of the text is `SHARE`.

    logit_k = log(p_k / (1 - p_k)) - log(s / (1 - s)), with p = softmax(scores) and s = `SHARE`.
    """
    shares = scores.log_softmax(-1).clamp(max=-1e-6)  # log p_k, with 1 - p_k above 0
    return shares - torch.log(-torch.expm1(shares)) - AT_SHARE


def loss_of_shares(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The cross entropy of the shares behind these logits `(B, K)` with equal ones of all labels that hold.

    Args:
        labels: 1 where a label holds, `(B, K)`; a text without any counts as one of all labels.
    """
    held = torch.where(labels.sum(-1, keepdim=True) > 0, labels, torch.ones_like(labels)).float()
    return -(held / held.sum(-1, keepdim=True) * logsigmoid(logits + AT_SHARE)).sum(-1).mean()
