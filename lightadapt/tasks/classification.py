"""One label for a text, or for a pair of texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from lightadapt.data import Record, Records
from lightadapt.errors import LightAdaptError, shown
from lightadapt.metrics import (
    Confusion,
    LabelConfusion,
    Report,
    Tally,
    classification_scores,
    classification_tally,
    confusion_of_labels,
)
from lightadapt.tasks.decoding.doubt import Doubt, doubt_between
from lightadapt.tasks.decoding.judgement import Judgement
from lightadapt.tasks.decoding.probabilities import mean_of_windows, most_probable, softmax
from lightadapt.tasks.decoding.temperature import find_temperature, temper
from lightadapt.tasks.encoding.features import Encoded, Feature
from lightadapt.tasks.encoding.fields import required
from lightadapt.tasks.encoding.templates import check_template
from lightadapt.tasks.encoding.texts import Overflow, TextExample, as_pair, check_overflow, encode_texts, read_texts
from lightadapt.tasks.encoding.view import ModelView
from lightadapt.tasks.labels import Label, LabelledTask, clean_label, sorted_labels
from lightadapt.tasks.losses.objective import Objective, Weigher
from lightadapt.tasks.losses.weighting import (
    ClassWeights,
    balanced_weights,
    check_weighting,
    resolve_weights,
    weight_of_labels,
    weighted_cross_entropy,
)
from lightadapt.tasks.task import EVERY_FAMILY


@dataclass(frozen=True)
class Classification(LabelledTask):
    """One label a record: `text`, optional `text_pair`, `label` (a name or a class number).

    A prediction is the label; with `scores=True` it is `{label: probability}`.

    >>> Classification(labels=["refund", "delivery"]).outputs()
    ('refund', 'delivery')
    """

    name: ClassVar[str] = "classification"
    auto_classes: ClassVar = dict.fromkeys(EVERY_FAMILY, "AutoModelForSequenceClassification")
    fields: ClassVar[tuple[str, ...]] = ("text", "text_pair", "label")
    answer_fields: ClassVar[tuple[str, ...]] = ("label",)
    headline: ClassVar[str] = "accuracy"
    pipeline: ClassVar[str] = "text-classification"
    problem_type: ClassVar[str | None] = "single_label_classification"
    one_answer: ClassVar[bool] = True

    class_weights: ClassWeights = field(default=None, kw_only=True)
    """How much a record of each class weighs in the loss: `"balanced"` (all classes the same), or `{label: weight}`."""
    label_smoothing: float = field(default=0.0, kw_only=True)
    """The share of each target that is spread over all classes."""
    overflow: Overflow = field(default="truncate", kw_only=True)
    """What happens to a text longer than the model takes: cut, read in windows whose probabilities are averaged, or
    refused."""
    prompt: str | None = field(default=None, kw_only=True)
    """How a language model is asked as long as nothing was learned: a text with `{text}`, and `{labels}` where they are
    to be listed, behind which the label would follow. None: `"Text: {text}\\nLabel:"`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weighting(self.class_weights, self.label_smoothing)
        check_overflow(self.overflow)
        if self.prompt is not None:
            check_template(self.prompt)

    def clean_labels(self, labels: Sequence[Label]) -> tuple[Label, ...]:
        labels = super().clean_labels(labels)
        if len(labels) < 2:
            raise LightAdaptError(
                f"There is only one label, {shown(labels[0])}: nothing can be told apart. Give data or labels=[…] with "
                "two or more."
            )
        return labels

    def as_record(self, item: Any) -> Any:
        return super().as_record(as_pair(item))

    def parse_record(self, records: Records, index: int, *, labelled: bool) -> Any:
        return TextExample(*read_texts(records, index), self.read_label(records, index) if labelled else None)

    def read_label(self, records: Records, index: int) -> Label:
        """The label of a record, a class number as the labels name it."""
        return clean_label(records, index, "label", required(records, index, "label"), self.labels)

    def samples(self) -> list[Record]:
        first, *_, last = self.labels or ("", "")
        return [{"text": "It came on time.", "label": first}, {"text": "It is late, and it is broken.", "label": last}]

    def find_labels(self, examples: Sequence[Any]) -> tuple[Label, ...]:
        return sorted_labels(example.label for example in examples)

    def check_answers(self, examples: Sequence[Any], records: Records) -> None:
        known = set(self.labels or ())
        for index, example in enumerate(examples):
            if example.label not in known:
                raise self.unknown_label(records.place(index), example.label)

    def labels_of(self, outputs: Sequence[str]) -> tuple[Label, ...] | None:
        return tuple(outputs) if len(outputs) > 1 else None  # one output is a regression

    def encode(self, examples: Sequence[Any], view: ModelView, *, targets: bool) -> Encoded:
        encoded = encode_texts(examples, view, self.overflow)
        if targets:
            self.set_targets(examples, encoded.features, view)
        return encoded

    def set_targets(self, examples: Sequence[Any], features: Sequence[Feature], view: ModelView) -> None:
        """Give each feature the number of its example's label."""
        place = {name: number for number, name in enumerate(view.outputs)}
        for feature in features:
            feature.targets = {"labels": place[str(examples[feature.example].label)]}

    def objective(self, examples: Sequence[Any], view: ModelView) -> Objective | None:
        if self.class_weights is None and not self.label_smoothing:
            return None
        return weighted_cross_entropy(self.weights(examples, view), self.label_smoothing)

    def weigher(self, examples: Sequence[Any], view: ModelView) -> Weigher:
        weights = self.weights(examples, view)
        return super().weigher(examples, view) if weights is None else weight_of_labels(weights)

    def weights(self, examples: Sequence[Any], view: ModelView) -> np.ndarray | None:
        """What a record of each output weighs in the loss, `(K,)`; None: all the same."""
        counts = Counter(str(example.label) for example in examples)
        present = np.array([counts[name] for name in view.outputs])
        return resolve_weights(self.class_weights, view.outputs, lambda: balanced_weights(present))

    def decode(
        self, examples: Sequence[Any], features: Sequence[Any], inferred: Sequence[np.ndarray], view: ModelView
    ) -> list[dict[Label, float]]:
        assert self.labels is not None
        order = [view.outputs.index(str(label)) for label in self.labels]
        probabilities = mean_of_windows(features, [softmax(logits) for logits in inferred], len(examples))[:, order]
        return self.calibrated([dict(zip(self.labels, map(float, row), strict=True)) for row in probabilities])

    def doubts(
        self, examples: Sequence[Any], features: Sequence[Any], inferred: Sequence[Any], view: ModelView
    ) -> list[Doubt]:
        return list(map(doubt_between, self.decode(examples, features, inferred, view)))

    def score(
        self, examples: Sequence[Any], predictions: Sequence[dict[Label, float]]
    ) -> tuple[dict[str, float], Report]:
        return classification_scores([example.label for example in examples], list(map(most_probable, predictions)))

    def tally(self, examples: Sequence[Any], predictions: Sequence[dict[Label, float]]) -> Tally:
        gold = [example.label for example in examples]
        return classification_tally(gold, list(map(most_probable, predictions)), self.labels or ())

    def guesses(self, examples: Sequence[Any]) -> list[Any] | None:
        """The most frequent label of these."""
        counts = Counter(example.label for example in examples)
        return [{label: counts[label] / len(examples) for label in self.labels or ()}] * len(examples)

    def temperature_for(self, examples: Sequence[Any], predictions: Sequence[dict[Label, float]]) -> float | None:
        right = [list(each).index(example.label) for example, each in zip(examples, predictions, strict=True)]
        return find_temperature([np.array(list(each.values())) for each in predictions], right)

    def tempered(self, predictions: Sequence[dict[Label, float]], temperature: float) -> list[dict[Label, float]]:
        rows = [temper(np.array(list(each.values())), temperature).tolist() for each in predictions]
        return [dict(zip(each, row, strict=True)) for each, row in zip(predictions, rows, strict=True)]

    def present(self, example: Any, prediction: dict[Label, float], *, scores: bool) -> Any:
        return prediction if scores else most_probable(prediction)

    def judge(self, example: Any, prediction: dict[Label, float]) -> Judgement | None:
        given = most_probable(prediction)
        return None if given == example.label else Judgement(given, example.label, prediction[given])

    def confusion_of(
        self, examples: Sequence[Any], predictions: Sequence[dict[Label, float]]
    ) -> Confusion | LabelConfusion | None:
        gold = [example.label for example in examples]
        return confusion_of_labels(gold, list(map(most_probable, predictions)), self.labels or ())

    def certainties(
        self, examples: Sequence[Any], predictions: Sequence[dict[Label, float]]
    ) -> list[tuple[float, bool]]:
        return [
            (max(each.values()), most_probable(each) == example.label)
            for example, each in zip(examples, predictions, strict=True)
        ]
