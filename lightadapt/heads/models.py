"""Task models for what transformers has no class for: a bare backbone with a linear head.

Each builds the backbone under the name that its checkpoints use, so that `from_pretrained` reads them as it does for
transformers' own classes.
"""

from __future__ import annotations

from inspect import signature
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import (
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

from lightadapt.anatomy.auto_classes import mapped_class

DROPOUT = 0.1
"""The share of values that is dropped in front of the head, as in transformers' generic heads."""
ANCHORS = 3
"""Positions that a relation is read from: the summary of the text, the first argument, the second one."""


class _OnBackbone(PreTrainedModel):
    """A backbone of any architecture, with a head on its hidden states.

    Args:
        config: of the backbone; its `num_labels` is the number of outputs.
    """

    accepts_loss_kwargs = False  # else Trainer would take the loss for one that is divided by accumulated steps
    supports_gradient_checkpointing = True
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True
    states: ClassVar[int] = 1
    """Hidden states that an output is computed from."""

    def __init__(self, config: PretrainedConfig) -> None:
        backbone = _bare_model(config)
        super().__init__(backbone.config)
        self.base_model_prefix = backbone.base_model_prefix
        setattr(self, self.base_model_prefix, backbone)
        self.dropout = nn.Dropout(DROPOUT)
        self.classifier = nn.Linear(self.states * config.get_text_config().hidden_size, self.num_outputs(config))
        self.post_init()

    def num_outputs(self, config: PretrainedConfig) -> int:
        """The number of outputs."""
        return config.num_labels  # type: ignore[no-any-return]

    def hidden_states(self, input_ids: torch.Tensor | None, **inputs: Any) -> torch.Tensor:
        """`(B, T, width)`, what the backbone gives for `input_ids` `(B, T)`."""
        return getattr(self, self.base_model_prefix)(input_ids, **inputs).last_hidden_state  # type: ignore[no-any-return]


class BackboneForTokenClassification(_OnBackbone):
    """One label a token."""

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> TokenClassifierOutput:
        """Logits `(B, T, K)`; with `labels` `(B, T)` the loss."""
        hidden = self.hidden_states(input_ids, attention_mask=attention_mask, **kwargs)
        logits = self.classifier(self.dropout(hidden))
        loss = None if labels is None else cross_entropy(logits.float().flatten(0, 1), labels.flatten())
        return TokenClassifierOutput(loss=loss, logits=logits)


class BackboneForQuestionAnswering(_OnBackbone):
    """The start and the end of an answer."""

    def num_outputs(self, config: PretrainedConfig) -> int:
        return 2

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        start_positions: torch.Tensor | None = None,
        end_positions: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> QuestionAnsweringModelOutput:
        """Start and end logits `(B, T)`; with `start_positions` and `end_positions` `(B,)` the loss."""
        hidden = self.hidden_states(input_ids, attention_mask=attention_mask, **kwargs)
        start, end = self.classifier(self.dropout(hidden)).unbind(-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = (cross_entropy(start.float(), start_positions) + cross_entropy(end.float(), end_positions)) / 2
        return QuestionAnsweringModelOutput(loss=loss, start_logits=start, end_logits=end)


class BackboneForSequenceClassification(_OnBackbone):
    """One answer a text, read off its last token (of a decoder, the one that has seen all of it)."""

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Logits `(B, K)`; with `labels` the loss that `config.problem_type` names."""
        hidden = self.hidden_states(input_ids, attention_mask=attention_mask, **kwargs)
        logits = self.classifier(self.dropout(hidden[_rows(hidden), last_positions(attention_mask, hidden)]))
        loss = None
        if labels is not None:
            loss = self.loss_function(labels=labels, pooled_logits=logits, config=self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)


class BackboneForMultipleChoice(_OnBackbone):
    """A score for each of several texts, read off its first token."""

    def num_outputs(self, config: PretrainedConfig) -> int:
        return 1

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> MultipleChoiceModelOutput:
        """Logits `(B, C)` for `input_ids` `(B, C, T)`; with `labels` `(B,)` the loss."""
        choices = input_ids.shape[-2] if input_ids.ndim == 3 else 1
        flat = {
            name: value.flatten(0, -2)
            for name, value in {**kwargs, "attention_mask": attention_mask}.items()
            if torch.is_tensor(value)
        }
        hidden = self.hidden_states(input_ids.flatten(0, -2), **flat)
        logits = self.classifier(self.dropout(hidden[:, 0])).view(-1, choices)
        loss = None if labels is None else cross_entropy(logits.float(), labels)
        return MultipleChoiceModelOutput(loss=loss, logits=logits)


class BackboneForRelation(_OnBackbone):
    """One label for two marked arguments, read off their markers (Baldini Soares et al., 2019)."""

    states = ANCHORS

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        anchors: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Logits `(B, K)` from the hidden states at `anchors` `(B, 3)`; with `labels` `(B,)` the loss."""
        hidden = self.hidden_states(input_ids, attention_mask=attention_mask, **kwargs)
        if anchors is None:
            anchors = last_positions(attention_mask, hidden)[:, None].expand(-1, ANCHORS)
        states = hidden[_rows(hidden)[:, None], anchors].flatten(1)  # (B, 3 width)
        logits = self.classifier(self.dropout(states))
        loss = None if labels is None else cross_entropy(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def _bare_model(config: PretrainedConfig) -> PreTrainedModel:
    """The backbone, without the pooler that some architectures have and no head here reads."""
    bare = mapped_class("AutoModel", config)
    pooled = bare is not None and "add_pooling_layer" in signature(bare).parameters
    return AutoModel.from_config(config, **({"add_pooling_layer": False} if pooled else {}))  # type: ignore[no-any-return]


TASK_MODELS = {
    model.__name__.removeprefix("Backbone"): model
    for model in (
        BackboneForMultipleChoice,
        BackboneForQuestionAnswering,
        BackboneForRelation,
        BackboneForSequenceClassification,
        BackboneForTokenClassification,
    )
}
"""By the suffix that transformers' classes for the task have."""


def last_positions(attention_mask: torch.Tensor | None, hidden: torch.Tensor) -> torch.Tensor:
    """`(B,)`: the position of the last real token of each row, padded on either side or not at all."""
    if attention_mask is None:
        return torch.full((len(hidden),), hidden.shape[1] - 1, device=hidden.device)
    places = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    return (places * (attention_mask != 0)).argmax(-1)


def _rows(hidden: torch.Tensor) -> torch.Tensor:
    return torch.arange(len(hidden), device=hidden.device)
