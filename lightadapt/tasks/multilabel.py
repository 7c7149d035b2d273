"""Any number of labels for a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np

from lightadapt.data import Record, Records
from lightadapt.errors import DataError, LightAdaptError, listed, shown
from lightadapt.metrics import (
    Confusion,
    LabelConfusion,
    Report,
    Tally,
    confusion_of_sets,
    multilabel_scores,
    multilabel_tally,
)
from lightadapt.tasks.decoding.doubt import Doubt
from lightadapt.tasks.decoding.judgement import Judgement
from lightadapt.tasks.decoding.probabilities import mean_of_windows, most_probable
from lightadapt.tasks.decoding.temperature import find_temperature_of_each, temper_each
from lightadapt.tasks.decoding.thresholds import FittedThresholds, check_threshold, find_thresholds
from lightadapt.tasks.encoding.features import Encoded
from lightadapt.tasks.encoding.fields import as_list, plain, required
from lightadapt.tasks.encoding.texts import Overflow, TextExample, as_pair, check_overflow, encode_texts, read_texts
from lightadapt.tasks.encoding.view import ModelView
from lightadapt.tasks.labels import Label, LabelledTask, clean_label, sorted_labels
from lightadapt.tasks.losses.objective import Objective
from lightadapt.tasks.losses.weighting import (
    ClassWeights,
    check_weighting,
    presence_weights,
    resolve_weights,
    weighted_binary_cross_entropy,
)
from lightadapt.tasks.task import EVERY_FAMILY

USUAL = 0.5
"""The threshold where none was chosen or found."""
ENOUGH = 5
"""Records with a label from which it is said that none of them gets it."""


@dataclass(frozen=True)
class MultiLabel(LabelledTask):
    """Any number of labels a record: `text`, optional `text_pair`, `labels` (a list; empty where none holds).

    A prediction is the list of labels whose probability reaches the threshold, which `fit` finds on validation data;
    with `scores=True` it is `{label: probability}`, each between 0 and 1 by itself.

    >>> MultiLabel(labels=["billing", "delivery"], threshold=0.3).outputs()
    ('billing', 'delivery')
    """

    name: ClassVar[str] = "multilabel"
    auto_classes: ClassVar = dict.fromkeys(EVERY_FAMILY, "AutoModelForSequenceClassification")
    fields: ClassVar[tuple[str, ...]] = ("text", "text_pair", "labels")
    answer_fields: ClassVar[tuple[str, ...]] = ("labels",)
    headline: ClassVar[str] = "micro_f1"
    pipeline: ClassVar[str] = "text-classification"
    problem_type: ClassVar[str | None] = "multi_label_classification"

    threshold: float | str | None = None
    """Probability from which a label is predicted. None or `"auto"`: the one with the best micro F1 on the validation
    data of `fit`; `"per-label"`: one for each label that at least 10 validation records have, with the best F1 of it.
    Without validation data it is 0.5."""
    class_weights: ClassWeights = field(default=None, kw_only=True)
    """How much the presence of each label weighs against its absence: `"balanced"` (as often as it is absent, by the
    training data), or `{label: weight}`."""
    label_smoothing: float = field(default=0.0, kw_only=True)
    """The share of each target that is moved towards one half."""
    overflow: Overflow = field(default="truncate", kw_only=True)
    """What happens to a text longer than the model takes: cut, read in windows whose probabilities are averaged, or
    refused."""
    fitted: FittedThresholds = field(default=FittedThresholds(), kw_only=True)
    looks_back: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weighting(self.class_weights, self.label_smoothing)
        check_overflow(self.overflow)
        check_threshold(self.threshold)

    @property
    def tunes(self) -> bool:
        return self.threshold is None or isinstance(self.threshold, str)

    def prepare(self, examples: Sequence[TextExample], *, fresh_head: bool) -> MultiLabel:
        return replace(self, fitted=FittedThresholds())

    def tune_on_validation(
        self, examples: Sequence[TextExample], predictions: Sequence[dict[Label, float]]
    ) -> MultiLabel:
        labels = self.labels or ()
        held = np.array([[label in example.label for label in labels] for example in examples])
        probabilities = np.array([[prediction[label] for label in labels] for prediction in predictions])
        found = find_thresholds(held, probabilities, list(map(str, labels)), each=self.threshold == "per-label")
        return replace(self, fitted=found)

    def with_threshold(self, threshold: float) -> MultiLabel:
        check_threshold(threshold, alone=True)
        temperature = self.fitted.temperature
        if temperature is not None:  # what is kept is a raw one, of which 0 and 1 are none
            threshold = float(np.clip(temper_each(np.array(threshold), 1 / temperature), 1e-300, 1 - 1e-16))
        return replace(self, threshold=threshold)

    def threshold_of(self, label: Label) -> float:
        """The probability from which a label is predicted.

        Thresholds are kept as they were before anything was calibrated, so that calibrating changes no prediction.
        """
        if self.tunes:
            shared = USUAL if self.fitted.shared is None else self.fitted.shared
            raw = self.fitted.by_label.get(str(label), shared)
        else:
            raw = float(self.threshold)  # type: ignore[arg-type]
        temperature = self.fitted.temperature
        return raw if temperature is None else float(temper_each(np.array(raw), temperature))

    def as_record(self, item: Any) -> Any:
        return super().as_record(as_pair(item))

    def parse_record(self, records: Records, index: int, *, labelled: bool) -> TextExample:
        return TextExample(*read_texts(records, index), self._labels(records, index) if labelled else None)

    def _labels(self, records: Records, index: int) -> tuple[Label, ...]:
        found = as_list(records.place(index), "labels", required(records, index, "labels"))
        _check_vector(records.place(index), list(map(plain, found)))
        cleaned = [clean_label(records, index, "labels", label, self.labels) for label in found]
        return tuple(dict.fromkeys(cleaned))

    def samples(self) -> list[Record]:
        labels = list(self.labels or ())
        return [
            {"text": "It came on time.", "labels": labels[:1]},
            {"text": "It is late, and it is broken.", "labels": []},
        ]

    def show_target(self, feature: Any, view: ModelView) -> str:
        held = [name for name, value in zip(view.outputs, feature.targets["labels"], strict=True) if value]
        return ", ".join(held) or "none"

    def find_labels(self, examples: Sequence[TextExample]) -> tuple[Label, ...]:
        found = sorted_labels(label for example in examples for label in example.label)
        if not found:
            raise LightAdaptError("No record has a label, so there is nothing to learn. Check labels, or columns={…}.")
        return found

    def check_answers(self, examples: Sequence[TextExample], records: Records) -> None:
        known = set(self.labels or ())
        if len(examples) > 1 and all(sorted(map(str, example.label)) == ["0", "1"] for example in examples):
            raise _two_readings(records.place(0), examples[0].label)
        for index, example in enumerate(examples):
            for label in example.label:
                if label not in known:
                    raise self.unknown_label(records.place(index), label)

    def labels_of(self, outputs: Sequence[str]) -> tuple[Label, ...] | None:
        return tuple(outputs)

    def encode(self, examples: Sequence[TextExample], view: ModelView, *, targets: bool) -> Encoded:
        encoded = encode_texts(examples, view, self.overflow)
        if targets:
            for feature in encoded.features:
                present = set(map(str, examples[feature.example].label))
                feature.targets = {"labels": [float(name in present) for name in view.outputs]}
        return encoded

    def objective(self, examples: Sequence[TextExample], view: ModelView) -> Objective | None:
        if self.class_weights is None and not self.label_smoothing:
            return None
        return weighted_binary_cross_entropy(self._weights(examples, view), self.label_smoothing)

    def first_outputs(self, examples: Sequence[TextExample], view: ModelView) -> np.ndarray:
        """The log odds of each label, so that the first steps do not go into how rare it is (Lin et al., 2017)."""
        present, weights = _counts(examples, view), self._weights(examples, view)
        odds = (present + 0.5) / (len(examples) - present + 0.5)  # finite for a label of none, or of all
        return np.log(odds if weights is None else odds * weights)

    def _weights(self, examples: Sequence[TextExample], view: ModelView) -> np.ndarray | None:
        balanced = partial(presence_weights, _counts(examples, view), len(examples))
        return resolve_weights(self.class_weights, view.outputs, balanced)

    def decode(
        self, examples: Sequence[TextExample], features: Sequence[Any], inferred: Sequence[np.ndarray], view: ModelView
    ) -> list[dict[Label, float]]:
        assert self.labels is not None
        order = [view.outputs.index(str(label)) for label in self.labels]
        single = [1 / (1 + np.exp(-logits.astype(np.float64))) for logits in inferred]
        probabilities = mean_of_windows(features, single, len(examples))[:, order]
        return self.calibrated([dict(zip(self.labels, map(float, row), strict=True)) for row in probabilities])

    def doubts(
        self, examples: Sequence[Any], features: Sequence[Any], inferred: Sequence[Any], view: ModelView
    ) -> list[Doubt]:
        """By the label whose probability is nearest to its threshold, as a share of the way there."""
        return [self._doubt(prediction) for prediction in self.decode(examples, features, inferred, view)]

    def _doubt(self, prediction: dict[Label, float]) -> Doubt:
        limits = {label: self.threshold_of(label) for label in prediction}
        values = {
            label: p / limits[label] if p < limits[label] else (1 - p) / max(1 - limits[label], 1e-12)
            for label, p in prediction.items()
        }
        label = most_probable(values)
        return Doubt(min(1.0, values[label]), f"{label} {prediction[label]:.2f}, given from {limits[label]:.2f}")

    def score(
        self, examples: Sequence[TextExample], predictions: Sequence[dict[Label, float]]
    ) -> tuple[dict[str, float], Report]:
        assert self.labels is not None
        gold = [example.label for example in examples]
        return multilabel_scores(gold, [self._chosen(prediction) for prediction in predictions], self.labels)

    def tally(self, examples: Sequence[TextExample], predictions: Sequence[dict[Label, float]]) -> Tally:
        gold = [example.label for example in examples]
        return multilabel_tally(gold, list(map(self._chosen, predictions)), self.labels or ())

    def guesses(self, examples: Sequence[TextExample]) -> list[Any] | None:
        """The labels that half of these have, or more."""
        counts = Counter(label for example in examples for label in example.label)
        return [{label: float(2 * counts[label] >= len(examples)) for label in self.labels or ()}] * len(examples)

    def temperature_for(
        self, examples: Sequence[TextExample], predictions: Sequence[dict[Label, float]]
    ) -> float | None:
        return find_temperature_of_each(*zip(*self.certainties(examples, predictions), strict=True))

    def tempered(self, predictions: Sequence[dict[Label, float]], temperature: float) -> list[dict[Label, float]]:
        rows = [temper_each(np.array(list(each.values())), temperature).tolist() for each in predictions]
        return [dict(zip(each, row, strict=True)) for each, row in zip(predictions, rows, strict=True)]

    def present(self, example: TextExample, prediction: dict[Label, float], *, scores: bool) -> Any:
        return prediction if scores else self._chosen(prediction)

    def judge(self, example: TextExample, prediction: dict[Label, float]) -> Judgement | None:
        chosen = self._chosen(prediction)
        wrong = set(chosen) ^ set(example.label)
        if not wrong:
            return None
        confidence = max(prediction[label] if label in chosen else 1 - prediction[label] for label in wrong)
        return Judgement(chosen, list(example.label), confidence)

    def confusion_of(
        self, examples: Sequence[TextExample], predictions: Sequence[dict[Label, float]]
    ) -> Confusion | LabelConfusion | None:
        gold = [example.label for example in examples]
        return confusion_of_sets(gold, list(map(self._chosen, predictions)), self.labels or ())

    def certainties(
        self, examples: Sequence[TextExample], predictions: Sequence[dict[Label, float]]
    ) -> list[tuple[float, bool]]:
        """The probability of each label of each record, and whether it holds."""
        return [
            (probability, label in example.label)
            for example, each in zip(examples, predictions, strict=True)
            for label, probability in each.items()
        ]

    def _chosen(self, probabilities: dict[Label, float]) -> list[Label]:
        limits = self._limits
        return [label for label, probability in probabilities.items() if probability >= limits[label]]

    @cached_property
    def _limits(self) -> dict[Label, float]:
        return {label: self.threshold_of(label) for label in self.labels or ()}

    def remarks(self, examples: Sequence[TextExample], predictions: Sequence[dict[Label, float]]) -> list[str]:
        """Which labels no record is given, though some have them: their F1 is 0."""
        held = Counter(label for example in examples for label in example.label)
        given = {label for prediction in predictions for label in self._chosen(prediction)}
        never = [label for label in self.labels or () if held[label] >= ENOUGH and label not in given]
        if not never:
            return []
        return [
            f"{len(never)} of {len(self.labels or ())} labels are never predicted, though {ENOUGH} records or more "
            f"have them: {listed(never)}. Train longer, with class_weights='balanced', or with threshold='per-label'."
        ]


def _check_vector(place: str, labels: Sequence[Any]) -> None:
    """Refuse a 0 or 1 for each class, which would be read as the classes 0 and 1."""
    numbers = [label for label in labels if type(label) in (bool, int, float) or label in ("0", "1")]
    if len(labels) < 2 or len(numbers) < len(labels) or any(float(label) not in (0, 1) for label in labels):
        return
    if len(set(labels)) < len(labels) or not all(type(label) in (int, str) for label in labels):
        raise _two_readings(place, labels)


def _two_readings(place: str, labels: Sequence[Any]) -> DataError:
    return DataError(
        f"{place}: labels is {shown(list(labels))}. Two readings: a 0 or 1 for each class, or the classes 0 and 1 by "
        "number. Give the names of the labels that hold, such as [name for name, held in zip(names, vector) if held]."
    )


def _counts(examples: Sequence[TextExample], view: ModelView) -> np.ndarray:
    """How many examples have each of the head's labels, `(K,)`."""
    counts = Counter(str(label) for example in examples for label in example.label)
    return np.array([counts[name] for name in view.outputs])
