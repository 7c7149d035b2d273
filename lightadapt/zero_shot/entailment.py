"""Labels as statements that follow from a text or do not, by a checkpoint that was trained to tell (Yin et al. 2019).

The text is the premise, a sentence about each label the hypothesis: "This example is about delivery."
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import PretrainedConfig, PreTrainedModel

from lightadapt.base.companion import Companion
from lightadapt.base.weights import Base
from lightadapt.errors import RecordError
from lightadapt.heads.outputs import output_names
from lightadapt.tasks import Encoded, Feature, LabelledTask, ModelView
from lightadapt.tasks.classification import Classification
from lightadapt.tasks.decoding.probabilities import log_softmax
from lightadapt.tasks.encoding.texts import TextExample, encode_texts
from lightadapt.tasks.multilabel import MultiLabel
from lightadapt.zero_shot.prompts import one_text
from lightadapt.zero_shot.stand_in import StandIn, mean_of_wordings

HYPOTHESIS = "This example is about {}."
"""What is asked about a label without a description, by its name in words."""


class Columns(NamedTuple):
    """Which outputs of a head say that the hypothesis follows, and which that it does not."""

    entailment: int
    against: tuple[int, ...]
    """That of a contradiction; all others where none is called so."""


@dataclass
class HypothesisFeature(Feature):
    """A text with one hypothesis, or a window of it."""

    hypothesis: int = 0
    """The number of the hypothesis among those of all labels."""


@dataclass
class Entailment(StandIn):
    """How surely a sentence about each label follows from the text."""

    columns: Columns
    companion: Companion
    """With the checkpoint's own head, whose place the task's own has taken."""

    @classmethod
    def of(cls, base: Base, task: LabelledTask) -> Entailment | None:
        source = base.blueprint.source
        columns = columns_of(source.config) if source.instance is None else None  # its head would be overwritten
        if columns is None:
            return None
        own = Classification(labels=output_names(source.config))
        return cls(task, base, columns, Companion(base, own))

    def about(self, task: LabelledTask) -> Entailment:
        return replace(self, task=task)

    def encode(self, examples: Sequence[Any], view: ModelView, *, targets: bool) -> Encoded:
        """A feature for each text and hypothesis, more where a long text is read in windows."""
        asked = [text for wordings in self._hypotheses(view) for text in wordings]
        pairs = [TextExample(one_text(example), text, None) for example in examples for text in asked]
        try:
            encoded = encode_texts(pairs, view, self.task.overflow)  # type: ignore[attr-defined]
        except RecordError as error:
            raise RecordError(error.index // len(asked), error.reason) from None
        features = [
            HypothesisFeature(each.inputs, each.example // len(asked), hypothesis=each.example % len(asked))
            for each in encoded.features
        ]
        counts = [replace(count, count=-(-count.count // len(asked))) for count in encoded.counts]
        return Encoded(features, counts)

    def infer(self, model: PreTrainedModel, features: Sequence[Feature], view: ModelView) -> list[np.ndarray]:
        """The logits of the checkpoint's own head, `(3,)` for each feature."""
        own = self.companion.model
        batch = self.task.collate([replace(feature, targets={}) for feature in features], view)
        with torch.no_grad(), self.untouched(own):
            logits = own(**{name: value.to(own.device) for name, value in batch.items()}).logits
        return list(logits.float().cpu().numpy())

    def decode(
        self, examples: Sequence[Any], features: Sequence[Any], inferred: Sequence[Any], view: ModelView
    ) -> list[Any]:
        """The mean over windows, then over the wordings of a label; where several labels hold, each by itself."""
        wordings = self._hypotheses(view)
        total = np.zeros((len(examples), sum(map(len, wordings))))
        windows = np.zeros_like(total)
        for feature, logits in zip(features, inferred, strict=True):
            total[feature.example, feature.hypothesis] += self._score(logits)
            windows[feature.example, feature.hypothesis] += 1
        return self.decode_rows(examples, list(mean_of_wordings(total / windows, wordings)), view)

    def _score(self, logits: np.ndarray) -> float:
        """The log probability that the hypothesis follows; the log odds against a contradiction for several labels."""
        logs = log_softmax(logits, axis=0)
        if not isinstance(self.task, MultiLabel):
            return float(logs[self.columns.entailment])
        against = np.log(np.exp(logs[list(self.columns.against)]).sum())
        return float(logs[self.columns.entailment] - against)

    def _hypotheses(self, view: ModelView) -> list[tuple[str, ...]]:
        """What is asked about each output: its descriptions as they are, or its name in a sentence."""
        described = self.task.descriptions or {}
        return [
            wordings if name in described else tuple(HYPOTHESIS.format(text) for text in wordings)
            for name, wordings in zip(view.outputs, self.meanings(view), strict=True)
        ]


def columns_of(config: PretrainedConfig) -> Columns | None:
    """Which outputs of a checkpoint's head tell entailment, by their names in any order; None where none does.

    >>> from transformers import BertConfig
    >>> names = {0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"}
    >>> columns_of(BertConfig(id2label=names, architectures=["BertForSequenceClassification"]))
    Columns(entailment=2, against=(0,))
    """
    if not any(name.endswith("ForSequenceClassification") for name in config.architectures or ()):
        return None
    names = [name.lower() for name in output_names(config)]
    entailing = [number for number, name in enumerate(names) if name.startswith("entail")]
    if len(entailing) != 1 or len(names) < 2:
        return None
    others = tuple(number for number in range(len(names)) if number != entailing[0])
    against = tuple(number for number in others if names[number].startswith("contradict"))
    return Columns(entailing[0], against or others)
