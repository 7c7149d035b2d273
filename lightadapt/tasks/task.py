"""What every task is: records are encoded into features, and the model's outputs are decoded and scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from lightadapt.data import Data, Record, Records, read
from lightadapt.errors import DataError, LightAdaptError, nearest
from lightadapt.metrics import Report

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

Label: TypeAlias = str | int

IGNORED = -100
"""The target that no loss counts, by the convention of torch's cross entropy."""


@dataclass
class Feature:
    """One sequence as the model sees it."""

    inputs: dict[str, list[int]]
    """What the tokenizer gave: `input_ids`, `attention_mask`, …"""
    example: int
    """Index of the example that it is cut from; a long one gives several features."""
    words: list[tuple[int, int, int]] = field(default_factory=list)
    """For tasks that label words: (position, first, end), where the sub-word at the position stands for the words
    [first, end); they are several when a sub-word reaches over the end of its word."""
    target: int | list[int] | None = None

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])


@dataclass
class Encoded:
    """The features of some examples, and what had to be cut, to be said once."""

    features: list[Feature]
    notes: list[str]


@dataclass(frozen=True)
class Task(ABC):
    """A kind of problem. Its methods form one line: `parse`, `encode`, (the model), `decode`, `score`."""

    name: ClassVar[str]
    auto_class: ClassVar[str]
    """The transformers Auto class whose models serve the task."""
    fields: ClassVar[tuple[str, ...]]
    """The fields that a record may have."""
    answers: ClassVar[tuple[str, ...]]
    """Those of them that `predict` does not need."""
    headline: ClassVar[str]
    """The metric that early stopping and the choice of the best weights go by."""
    pipeline: ClassVar[str]
    """The name of the task on the hub."""

    needs_offsets: ClassVar[bool] = False
    """Whether the tokenizer must know where its tokens lie in the text."""

    labels: Sequence[Label] | None = None
    """The names of the classes; None: read from the data of the first `fit`."""
    columns: Mapping[str, str] | None = field(default=None, kw_only=True)
    """`{field: column}` for fields that have another name in the data."""

    def __post_init__(self) -> None:
        if self.labels is not None:
            object.__setattr__(self, "labels", self.clean_labels(self.labels))

    def clean_labels(self, labels: Sequence[Label]) -> tuple[Label, ...]:
        """The given labels, checked: at least one, all names or all numbers, none twice."""
        if isinstance(labels, str):
            raise LightAdaptError(f"labels={labels!r} is one text. Give a list of names: labels=[{labels!r}, …]")
        labels = tuple(label.item() if isinstance(label, np.generic) else label for label in labels)
        if not labels:
            raise LightAdaptError("labels is empty. Name at least one label, or leave labels out to infer them.")
        kinds = {type(label) for label in labels}
        if kinds not in ({str}, {int}):
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise LightAdaptError(f"labels holds values of type {names}. Give names only, or class numbers only.")
        if "" in labels:
            raise LightAdaptError("labels holds an empty name. Give every label a name.")
        twice = [label for label in dict.fromkeys(labels) if labels.count(label) > 1]
        if twice:
            raise LightAdaptError(f"labels names {twice[0]!r} twice. Name each label once.")
        return labels

    def with_labels(self, labels: Sequence[Label]) -> Task:
        """The same task with these labels."""
        return replace(self, labels=self.clean_labels(labels))

    def settings(self) -> dict[str, Any]:
        """The fields of the task as JSON values, labels left out."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "labels"}

    def as_record(self, item: Any) -> Any:
        """The record that an input of `predict` stands for: a text stands for `{"text": …}`."""
        return {"text": item} if isinstance(item, str) else item

    def read(
        self,
        source: Data,
        *,
        split: str = "train",
        columns: Mapping[str, str] | None = None,
        labelled: bool = True,
    ) -> Records:
        """The records of any form of data, with this task's column names applied."""
        columns = (self.columns if columns is None else columns) or {}
        if not isinstance(columns, Mapping) or not all(isinstance(column, str) for column in columns.values()):
            raise DataError(f"columns={columns!r}: write {{field: column}}, such as {{'text': 'sentence'}}.")
        if not labelled:
            columns = {name: column for name, column in columns.items() if name not in self.answers}
        unknown = [name for name in columns if name not in self.fields]
        if unknown:
            raise DataError(
                f"columns names the field {unknown[0]!r}, which task {self.name!r} does not have. "
                f"{nearest(unknown[0], self.fields)}Fields: {', '.join(self.fields)}"
            )
        return read(source, split=split, columns=columns)

    def parse(self, records: Records, *, labelled: bool = True) -> list[Any]:
        """The checked examples of the records; `labelled` says whether the answer must be there.

        Raises:
            DataError: naming the record, the field and the mend.
        """
        self._check_columns(records, self.known_fields(records, labelled=labelled))
        return [self.parse_record(records, index, labelled=labelled) for index in range(len(records))]

    def known_fields(self, records: Records, *, labelled: bool) -> list[str]:
        """The fields that count for these records; a column with nearly such a name is taken for a slip."""
        return [name for name in self.fields if labelled or name not in self.answers]

    def _check_columns(self, records: Records, fields: Sequence[str]) -> None:
        """Refuse a misspelt optional field, which would otherwise be ignored in silence."""
        present = {key for item in records for key in item}
        absent = [name for name in fields if name not in present]
        for key in sorted(present - set(self.fields), key=str):
            close = get_close_matches(str(key).lower(), absent, n=1, cutoff=0.8)
            if close:
                raise DataError(
                    f"Unknown column {key!r} in {records.source}. Did you mean {close[0]!r}? "
                    f"Rename it, or pass columns={{{close[0]!r}: {key!r}}}. Fields: {', '.join(self.fields)}"
                )

    @abstractmethod
    def parse_record(self, records: Records, index: int, *, labelled: bool) -> Any:
        """The checked example of one record."""

    @abstractmethod
    def find_labels(self, examples: Sequence[Any]) -> tuple[Label, ...]:
        """The labels that occur, sorted."""

    @abstractmethod
    def check_labels(self, examples: Sequence[Any], records: Records) -> None:
        """Raise a DataError that names the first record whose label is not among `labels`."""

    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """The names of the head's outputs, in order."""

    @abstractmethod
    def labels_of(self, outputs: Sequence[str]) -> tuple[Label, ...] | None:
        """The labels behind the outputs of a head trained elsewhere; None when it is not of this task's form."""

    @abstractmethod
    def encode(
        self,
        examples: Sequence[Any],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        outputs: Sequence[str] | None = None,
    ) -> Encoded:
        """The features of the examples; with targets when the head's `outputs` are given."""

    def collate(self, features: Sequence[Feature], tokenizer: PreTrainedTokenizerBase) -> dict[str, torch.Tensor]:
        """The features as one batch of `(B, T)` tensors, padded on the right."""
        import torch

        padding = {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": tokenizer.pad_token_type_id}
        length = max(map(len, features))
        batch = {}
        for name in features[0].inputs:
            values = [feature.inputs[name] for feature in features]
            batch[name] = torch.from_numpy(_pad(values, length, padding.get(name, 0)))
        targets = [feature.target for feature in features]
        if isinstance(targets[0], list):
            batch["labels"] = torch.from_numpy(_pad(targets, length, IGNORED))
        elif targets[0] is not None:
            batch["labels"] = torch.tensor(targets)
        return batch

    @abstractmethod
    def decode(
        self,
        examples: Sequence[Any],
        features: Sequence[Feature],
        logits: Sequence[np.ndarray],
        outputs: Sequence[str],
    ) -> list[Any]:
        """The predictions, one an example, from the logits, one array a feature."""

    @abstractmethod
    def score(self, examples: Sequence[Any], predictions: Sequence[Any]) -> tuple[dict[str, float], Report]:
        """The metrics, headline first, and the report per class."""

    @abstractmethod
    def present(self, example: Any, prediction: Any, *, scores: bool) -> Any:
        """A prediction as the user sees it."""


def _pad(rows: Sequence[Any], length: int, filler: int) -> np.ndarray:
    padded = np.full((len(rows), length), filler, dtype=np.int64)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return padded


def optional_text(records: Records, index: int, name: str) -> str | None:
    """The text in a field of a record; None when the field is absent."""
    return None if records.items[index].get(name) is None else text_field(records, index, name)


def text_field(records: Records, index: int, name: str) -> str:
    """The text in a field of a record.

    Raises:
        DataError: the field is missing, is no text, or is empty.
    """
    value = required(records, index, name)
    if not isinstance(value, str):
        raise DataError(
            f"{records.place(index)}: {name} is {value!r} ({type(value).__name__}), but a text is expected. "
            "Convert it with str(), or choose the right column with columns={…}."
        )
    if not value.strip():
        raise DataError(f"{records.place(index)}: {name} is empty. Remove the record or fill in its text.")
    check_characters(records.place(index), name, value)
    return value


def check_characters(place: str, name: str, text: str) -> None:
    """Raise for half a surrogate pair, which JSON of cut texts holds and no tokenizer takes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: {name} holds half a character at {error.start} ({text[error.start]!r}). Repair the text, for "
            "example with text.encode('utf-8', 'ignore').decode()."
        ) from error


def as_list(place: str, name: str, value: Any) -> list[Any]:
    """The items of a list-like field."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return list(value)
    raise DataError(f"{place}: {name} is {value!r} ({type(value).__name__}), not a list.")


def required(records: Records, index: int, name: str) -> Any:
    """The value of a field of a record.

    Raises:
        DataError: the field is missing or empty (None), naming the fields that are there.
    """
    item: Record = records.items[index]
    value = item.get(name)
    if value is None:
        if name in item:
            raise DataError(f"{records.place(index)}: {name} is empty. Remove the record or fill it in.")
        close = nearest(name, map(str, item))
        hint = f" {close}Rename it, or pass columns={{{name!r}: '…'}}." if item else " It is an empty dict."
        raise DataError(
            f"{records.place(index)}: the field {name!r} is missing. Fields there: {', '.join(map(str, item))}.{hint}"
        )
    return value
