"""One label for a text, or for a pair of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from lightadapt.data import Records
from lightadapt.errors import DataError, LightAdaptError, nearest
from lightadapt.metrics import Report, classification_scores
from lightadapt.tasks.task import Encoded, Feature, Label, Task, check_characters, optional_text, required, text_field

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Example(NamedTuple):
    """A text, the other text of a pair, and the label of both."""

    text: str
    text_pair: str | None
    label: Label | None


@dataclass(frozen=True)
class Classification(Task):
    """One label a record: `text`, optional `text_pair`, `label` (a name or a class number).

    A prediction is the label; with `scores=True` it is `{label: probability}`.

    >>> Classification(labels=["refund", "delivery"]).outputs()
    ('refund', 'delivery')
    """

    name: ClassVar[str] = "classification"
    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    fields: ClassVar[tuple[str, ...]] = ("text", "text_pair", "label")
    answers: ClassVar[tuple[str, ...]] = ("label",)
    headline: ClassVar[str] = "accuracy"
    pipeline: ClassVar[str] = "text-classification"

    def clean_labels(self, labels: Sequence[Label]) -> tuple[Label, ...]:
        labels = super().clean_labels(labels)
        if len(labels) < 2:
            raise LightAdaptError(
                f"There is one label only, {labels[0]!r}: nothing can be told apart. Give data or labels=[…] with two "
                "or more."
            )
        return labels

    def as_record(self, item: Any) -> Any:
        """A pair of texts stands for `{"text": …, "text_pair": …}`."""
        if isinstance(item, (tuple, list)) and len(item) == 2:
            return {"text": item[0], "text_pair": item[1]}
        return super().as_record(item)

    def parse_record(self, records: Records, index: int, *, labelled: bool) -> Example:
        text = text_field(records, index, "text")
        pair = optional_text(records, index, "text_pair")
        label = required(records, index, "label") if labelled else None
        if label is not None and type(label) not in (str, int):
            raise DataError(
                f"{records.place(index)}: label is {label!r} ({type(label).__name__}). "
                "A label is a name or a class number; convert it with str() or int()."
            )
        if label == "":
            raise DataError(f"{records.place(index)}: label is empty. Remove the record or fill it in.")
        if isinstance(label, str):
            check_characters(records.place(index), "label", label)
        if self.labels is not None and label is not None and label not in self.labels:
            # A text file cannot tell the class number 1 from the name '1'.
            label = next((known for known in self.labels if str(known) == str(label)), label)
        return Example(text, pair, label)

    def find_labels(self, examples: Sequence[Example]) -> tuple[Label, ...]:
        found = {example.label for example in examples}
        return tuple(sorted(found, key=lambda label: (isinstance(label, str), label)))  # type: ignore[type-var,arg-type]

    def check_labels(self, examples: Sequence[Example], records: Records) -> None:
        assert self.labels is not None
        known = set(self.labels)
        for index, example in enumerate(examples):
            if example.label not in known:
                names = ", ".join(map(str, self.labels[:20])) + (", …" if len(self.labels) > 20 else "")
                raise DataError(
                    f"{records.place(index)}: label {example.label!r} is not among the labels. "
                    f"{nearest(str(example.label), map(str, self.labels))}Labels: {names}. "
                    "Correct the record, or adapt with labels=[…] that include it."
                )

    def outputs(self) -> tuple[str, ...]:
        return tuple(map(str, self.labels or ()))

    def labels_of(self, outputs: Sequence[str]) -> tuple[Label, ...] | None:
        return tuple(outputs) if len(outputs) > 1 else None  # one output is a regression

    def encode(
        self,
        examples: Sequence[Example],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        outputs: Sequence[str] | None = None,
    ) -> Encoded:
        pairs = [example.text_pair is not None for example in examples]
        batches: list[dict[str, list[int]]] = [{}] * len(examples)
        for with_pair in sorted(set(pairs)):  # a tokenizer takes texts or pairs, not both at once
            chosen = [index for index, paired in enumerate(pairs) if paired == with_pair]
            for index, inputs in zip(chosen, _tokenize(tokenizer, [examples[i] for i in chosen], None), strict=True):
                batches[index] = inputs
        long = [index for index, inputs in enumerate(batches) if len(inputs["input_ids"]) > max_length]
        for index in long:
            batches[index] = _tokenize(tokenizer, [examples[index]], max_length)[0]
        place = {name: number for number, name in enumerate(outputs or ())}
        features = [
            Feature(inputs, index, target=place[str(example.label)] if outputs else None)
            for index, (inputs, example) in enumerate(zip(batches, examples, strict=True))
        ]
        notes = (
            [f"{len(long)} of {len(examples)} texts are longer than {max_length} tokens; the model sees their start."]
            if long
            else []
        )
        return Encoded(features, notes)

    def decode(
        self,
        examples: Sequence[Example],
        features: Sequence[Feature],
        logits: Sequence[np.ndarray],
        outputs: Sequence[str],
    ) -> list[dict[Label, float]]:
        assert self.labels is not None
        order = [list(outputs).index(str(label)) for label in self.labels]
        scores = np.stack(logits)  # (N, labels)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        probabilities = (scores / scores.sum(-1, keepdims=True))[:, order]
        return [dict(zip(self.labels, map(float, row), strict=True)) for row in probabilities]

    def score(
        self, examples: Sequence[Example], predictions: Sequence[dict[Label, float]]
    ) -> tuple[dict[str, float], Report]:
        gold = [example.label for example in examples if example.label is not None]
        return classification_scores(gold, [_best(prediction) for prediction in predictions])

    def present(self, example: Example, prediction: dict[Label, float], *, scores: bool) -> Any:
        return prediction if scores else _best(prediction)


def _best(probabilities: dict[Label, float]) -> Label:
    return max(probabilities, key=probabilities.__getitem__)


def _tokenize(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], max_length: int | None
) -> list[dict[str, list[int]]]:
    """The inputs of examples that are all single texts or all pairs, cut to `max_length` unless it is None."""
    pair = [example.text_pair or "" for example in examples] if examples[0].text_pair is not None else None
    encoding = tokenizer(
        [example.text for example in examples],
        pair,
        truncation="longest_first" if max_length else False,
        max_length=max_length,
        verbose=False,
    )
    return [{name: column[row] for name, column in encoding.items()} for row in range(len(examples))]
