"""A number for a text, or for a pair of texts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from lightadapt.data import Record, Records
from lightadapt.errors import DataError, shown
from lightadapt.metrics import NumberTally, Report, Tally, regression_scores
from lightadapt.tasks.decoding.judgement import Judgement
from lightadapt.tasks.decoding.probabilities import mean_of_windows
from lightadapt.tasks.encoding.features import Encoded
from lightadapt.tasks.encoding.fields import number_field
from lightadapt.tasks.encoding.texts import Overflow, TextExample, as_pair, check_overflow, encode_texts, read_texts
from lightadapt.tasks.encoding.view import ModelView
from lightadapt.tasks.fitted import Fitted
from lightadapt.tasks.task import EVERY_FAMILY, Task

LARGEST = 1e15
"""Labels are below it: the square of their error must fit into a float32."""


@dataclass(frozen=True)
class FittedScale(Fitted):
    """The unit of the labels, as the first `fit` finds it.

    The head learns what is left when it is taken out; the model's outputs have it in again.
    """

    scale: tuple[float, float] | None = None
    """Mean and standard deviation of the labels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale is not None:  # JSON knows no tuples
            object.__setattr__(self, "scale", tuple(self.scale))


@dataclass(frozen=True)
class Regression(Task):
    """One number a record: `text`, optional `text_pair`, `label`. The loss is the mean squared error.

    A prediction is a float.

    >>> Regression().outputs()
    ('value',)
    """

    name: ClassVar[str] = "regression"
    auto_classes: ClassVar = dict.fromkeys(EVERY_FAMILY, "AutoModelForSequenceClassification")
    fields: ClassVar[tuple[str, ...]] = ("text", "text_pair", "label")
    answer_fields: ClassVar[tuple[str, ...]] = ("label",)
    headline: ClassVar[str] = "pearson"
    pipeline: ClassVar[str] = "text-classification"
    problem_type: ClassVar[str | None] = "regression"
    one_answer: ClassVar[bool] = True
    numeric: ClassVar[bool] = True

    overflow: Overflow = field(default="truncate", kw_only=True)
    """What happens to a text longer than the model takes: cut, read in windows whose values are averaged, or
    refused."""

    fitted: FittedScale = field(default=FittedScale(), kw_only=True)

    def __post_init__(self) -> None:
        check_overflow(self.overflow)

    def prepare(self, examples: Sequence[TextExample], *, fresh_head: bool) -> Regression:
        if self.fitted.scale is not None or not fresh_head:
            return self
        labels = np.array([example.label for example in examples])
        return replace(self, fitted=FittedScale((float(labels.mean()), float(labels.std()) or 1.0)))

    @property
    def output_scale(self) -> tuple[float, float] | None:
        return self.fitted.scale

    def as_record(self, item: Any) -> Any:
        return super().as_record(as_pair(item))

    def parse_record(self, records: Records, index: int, *, labelled: bool) -> TextExample:
        return TextExample(*read_texts(records, index), _number(records, index) if labelled else None)

    def classes_of(self, examples: Sequence[TextExample]) -> list[Sequence[Hashable]]:
        """Which tenth of the values each example is in."""
        order = np.argsort([example.label for example in examples], kind="stable")
        tenths = np.empty(len(order), int)
        tenths[order] = np.arange(len(order)) * 10 // max(1, len(order))
        return [(int(tenth),) for tenth in tenths]

    def samples(self) -> list[Record]:
        return [{"text": "It came on time.", "label": 1.0}, {"text": "It is late, and it is broken.", "label": 0.0}]

    def show_target(self, feature: Any, view: ModelView) -> str:
        return f"{feature.targets['labels']:g}"

    def outputs(self) -> tuple[str, ...]:
        return ("value",)

    def encode(self, examples: Sequence[TextExample], view: ModelView, *, targets: bool) -> Encoded:
        encoded = encode_texts(examples, view, self.overflow)
        if targets:
            for feature in encoded.features:
                feature.targets = {"labels": examples[feature.example].label}
        return encoded

    def decode(
        self, examples: Sequence[TextExample], features: Sequence[Any], inferred: Sequence[np.ndarray], view: ModelView
    ) -> list[float]:
        return [float(row[0]) for row in mean_of_windows(features, inferred, len(examples))]

    def score(self, examples: Sequence[TextExample], predictions: Sequence[float]) -> tuple[dict[str, float], Report]:
        return regression_scores([example.label for example in examples], predictions), {}

    def tally(self, examples: Sequence[TextExample], predictions: Sequence[float]) -> Tally:
        return NumberTally(np.array([example.label for example in examples], float), np.array(predictions, float))

    def guesses(self, examples: Sequence[TextExample]) -> list[Any] | None:
        """The mean of these."""
        return [float(np.mean([example.label for example in examples]))] * len(examples)

    def judge(self, example: TextExample, prediction: float) -> Judgement | None:
        error = prediction - example.label
        measures = {"error": error}
        return Judgement(prediction, example.label, rank=(abs(error),), measures=measures) if error else None

    def values_of(self, examples: Sequence[TextExample], predictions: Sequence[float]) -> list[tuple[float, float]]:
        return [(example.label, value) for example, value in zip(examples, predictions, strict=True)]


def _number(records: Records, index: int) -> float:
    number = number_field(records, index, "label")
    if abs(number) >= LARGEST:
        label = records.items[index]["label"]
        raise DataError(
            f"{records.place(index)}: label is {shown(label)}, beyond {LARGEST:,.0f}. Give the labels in a larger unit."
        )
    return number
