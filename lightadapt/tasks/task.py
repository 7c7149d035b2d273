"""What every task is: records are encoded into features, and the model's outputs are decoded and scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from lightadapt.anatomy import Family
from lightadapt.data import Data, Record, Records, read
from lightadapt.data.stored import stored_like
from lightadapt.errors import DataError, LightAdaptError, nearest
from lightadapt.metrics import Report
from lightadapt.tasks.encoding.showing import show_tokens

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Label: TypeAlias = str | int
Objective: TypeAlias = "Callable[[PreTrainedModel, dict[str, torch.Tensor]], torch.Tensor]"
"""Computes the loss of a batch with a model."""
Weigher: TypeAlias = "Callable[[dict[str, torch.Tensor]], torch.Tensor]"
"""Tells what the loss of a batch is divided by: the number of targets, or the sum of their weights."""

EVERY_FAMILY: tuple[Family, ...] = ("encoder", "decoder", "encoder-decoder")
IGNORED = -100
"""The target that no loss counts, by the convention of torch's cross entropy."""


@dataclass(frozen=True)
class ModelView:
    """What a task knows of the model that serves it."""

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    """The most tokens that a sequence may have, specials included."""
    family: Family
    outputs: tuple[str, ...] = ()
    """The names of the head's outputs, in order."""

    @property
    def leading_specials(self) -> list[int]:
        """The special tokens that the tokenizer puts before a text."""
        return self._specials[0]

    @property
    def trailing_specials(self) -> list[int]:
        """The special tokens that the tokenizer puts behind a text."""
        return self._specials[1]

    @cached_property  # every record asks
    def _specials(self) -> tuple[list[int], list[int]]:
        def ids(text: str, *, specials: bool) -> list[int]:
            return list(self.tokenizer(text, add_special_tokens=specials)["input_ids"])

        # A small vocabulary may lack a letter and drop it.
        text = next((text for text in ("a", "A", "0", ".") if ids(text, specials=False)), "a")
        bare, full = ids(text, specials=False), ids(text, specials=True)
        start = next(place for place in range(len(full)) if full[place : place + len(bare)] == bare)
        return full[:start], full[start + len(bare) :]


@dataclass
class Feature:
    """One sequence as the model sees it."""

    inputs: dict[str, Any]
    """Arguments of the model, a list of numbers a token or one number: `input_ids`, `attention_mask`, …"""
    example: int
    """Index of the example that it is cut from; a long one gives several features."""
    targets: dict[str, Any] = field(default_factory=dict)
    """What is to be learned, named as the arguments of the model (`labels`; `start_positions` and `end_positions`), or
    as the task's own loss reads it."""

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])


@dataclass(frozen=True)
class Count:
    """How many could not be encoded as they are; the counts of several pieces of the data add up."""

    text: str
    """The sentence for the user, with `{count}` and `{total}`."""
    count: int
    total: int | None = None
    """Of how many, also where none was found; None: of all examples."""


@dataclass
class Encoded:
    """The features of some examples, and what has to be said of them."""

    features: list[Any]
    counts: list[Count] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """The sentences about these examples alone."""
        return as_notes(self.counts, len({feature.example for feature in self.features}))


def as_notes(counts: Iterable[Count], examples: int) -> list[str]:
    """A sentence for each text of which something was counted, over all pieces of so many examples."""
    found: dict[str, tuple[int, int]] = {}
    for each in counts:
        count, total = found.get(each.text, (0, 0))
        found[each.text] = (count + each.count, examples if each.total is None else total + each.total)
    return [text.format(count=count, total=total) for text, (count, total) in found.items() if count]


@dataclass(frozen=True)
class Task(ABC):
    """A kind of problem. Its methods form one line: `parse`, `encode`, `infer`, `decode`, `score`."""

    name: ClassVar[str]
    auto_classes: ClassVar[Mapping[Family, str]]
    """For each family that can serve the task, the transformers Auto class for it, or a name made like theirs."""
    fields: ClassVar[tuple[str, ...]]
    """The fields that a record may have."""
    answer_fields: ClassVar[tuple[str, ...]]
    """Those of them that `predict` does not need."""
    headline: ClassVar[str]
    """The metric that early stopping and the choice of the best weights go by."""
    greater_is_better: ClassVar[bool] = True
    """Whether more of it is better."""
    pipeline: ClassVar[str]
    """The name of the task on the hub."""
    problem_type: ClassVar[str | None] = None
    """What transformers' heads for texts call their loss; without it they guess from the type of the labels."""
    comparable: ClassVar[bool] = True
    """Whether what is inferred is an array that a record alone must give again in a batch."""
    needs_offsets: ClassVar[bool] = False
    """Whether the tokenizer must know where its tokens lie in the text."""

    columns: Mapping[str, str] | None = field(default=None, kw_only=True)
    """`{field: column}` for fields that have another name in the data."""

    # ---- records

    def settings(self) -> dict[str, Any]:
        """The fields of the task as JSON values, labels left out."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "labels"}

    def as_json(self):
        return {"name": self.name, "settings": self.settings()}

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
            columns = {name: column for name, column in columns.items() if name not in self.answer_fields}
        unknown = [name for name in columns if name not in self.fields]
        if unknown:
            raise DataError(
                f"columns names the field {unknown[0]!r}, which task {self.name!r} does not have. "
                f"{nearest(unknown[0], self.fields)}Fields: {', '.join(self.fields)}"
            )
        return read(source, split=split, columns=columns)

    def parse(self, records: Records, *, labelled: bool = True) -> Sequence[Any]:
        """The checked examples of the records; `labelled` says whether the answer must be there.

        Raises:
            DataError: naming the record, the field and the mend.
        """
        self._check_columns(records, self.known_fields(records, labelled=labelled))
        examples = (self.parse_record(records, index, labelled=labelled) for index in range(len(records)))
        return stored_like(records.items, examples)

    def known_fields(self, records: Records, *, labelled: bool) -> list[str]:
        """The fields that count for these records; a column with nearly such a name is taken for a slip."""
        return [name for name in self.fields if labelled or name not in self.answer_fields]

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

    def read_examples(
        self, source: Data, *, split: str, columns: Mapping[str, str] | None
    ) -> tuple[Sequence[Any], Records]:
        """The checked examples of labelled data, whose answers the task can learn, and the records behind them.

        Raises:
            DataError: naming the record, the field and the mend.
        """
        records = self.read(source, split=split, columns=columns)
        if split == "validation" and records.source == "data":
            records = replace(records, source="validation data")
        examples = self.parse(records)
        self.check_answers(examples, records)
        return examples, records

    def check_answers(self, examples: Sequence[Any], records: Records) -> None:  # noqa: B027, most tasks take any answer
        """Raise a DataError that names the first record whose answer this task cannot learn."""

    def prepare(self, examples: Sequence[Any], *, fresh_head: bool) -> Task:
        """The task as it learns from these examples; `fresh_head` says whether its head has learned nothing yet."""
        return self

    @property
    def output_scale(self) -> tuple[float, float] | None:
        """The mean and the spread of what the head is to give, when it would take it long to get there; else None."""
        return None

    @property
    def tunes(self) -> bool:
        """Whether anything is to be tuned on validation data."""
        return False

    def tune_on_validation(self, examples: Sequence[Any], predictions: Sequence[Any]) -> Task:
        """The task with what can be tuned on validation examples after training, from their predictions."""
        return self

    def fit_tokenizer(self, tokenizer: PreTrainedTokenizerBase, family: Family) -> PreTrainedTokenizerBase:
        """The tokenizer as the task needs it: as it is, or a copy with something set.

        Raises:
            LightAdaptError: it cannot serve the task.
        """
        return tokenizer

    def end_tokens(self, view: ModelView) -> frozenset[int]:
        """The tokens of which a sequence must learn one, so that what is generated ends; none where nothing is."""
        return frozenset()

    def with_options(self, options: Mapping[str, Any]) -> Task:
        """The task with these options of generation.

        Raises:
            LightAdaptError: it generates nothing, or there is no such option.
        """
        raise LightAdaptError(f"Task {self.name!r} generates no text, so it takes no options. Leave them out.")

    # ---- the head

    @property
    def ready(self) -> bool:
        """Whether the outputs of the head are known."""
        return True

    def uses_lm_head(self, family: Family) -> bool:
        """Whether models of this family do the task with the output layer of a language model, so without a head."""
        return self.auto_classes.get(family, "").endswith(("ForCausalLM", "ForSeq2SeqLM"))

    def outputs(self) -> tuple[str, ...]:
        """The names of the head's outputs, in order; none where the head is the model's own."""
        return ()

    # ---- records to features, outputs to predictions

    @abstractmethod
    def encode(self, examples: Sequence[Any], view: ModelView, *, targets: bool) -> Encoded:
        """The features of the examples, with targets or without."""

    def collate(self, features: Sequence[Any], view: ModelView) -> dict[str, torch.Tensor]:
        """The features as one batch: `(B, T)` for what is a list, padded on the right, and `(B,)` for numbers."""
        first = features[0]
        batch = {name: [feature.inputs[name] for feature in features] for name in first.inputs}
        batch |= {name: [feature.targets[name] for feature in features] for name in first.targets}
        return {name: pad(values, filler(name, view.tokenizer)) for name, values in batch.items()}

    def first_outputs(self, examples: Sequence[Any], view: ModelView) -> np.ndarray | None:
        """The outputs `(K,)` that an untrained head should start with for these examples; None: as they come."""
        return None

    def objective(self, examples: Sequence[Any], view: ModelView) -> Objective | None:
        """The loss to train with on these examples; None: the model's own."""
        return None

    def cost(self, feature: Any) -> int:
        """The tokens that inferring from a feature goes through, by which batches are formed."""
        return len(feature)

    def weigher(self, examples: Sequence[Any], view: ModelView) -> Weigher:
        """What the losses of batches weigh by where several make one step: their targets, as if in one batch."""
        return count_targets

    def infer(self, model: PreTrainedModel, features: Sequence[Any], view: ModelView) -> list[Any]:
        """What the model gives for a batch of features, one each: logits `(K,)`, or `(T, K)` for one row a token."""
        batch = self.collate([replace(feature, targets={}) for feature in features], view)
        given = model(**{name: value.to(model.device) for name, value in batch.items()})
        logits = self.logits_of(given).float().cpu().numpy()
        # A copy, since a view would keep the whole padded batch.
        return [
            (row[: len(feature)] if row.ndim == 2 else row).copy()
            for row, feature in zip(logits, features, strict=True)
        ]

    def logits_of(self, given: Any) -> torch.Tensor:
        """The logits in what the model returns: `(B, K)`, or `(B, T, K)`."""
        return given.logits  # type: ignore[no-any-return]

    def validation_features(self, features: Sequence[Any]) -> list[Any]:
        """The features as they are scored after each epoch: what the headline does not need may be left out."""
        return list(features)

    @abstractmethod
    def decode(
        self, examples: Sequence[Any], features: Sequence[Any], inferred: Sequence[Any], view: ModelView
    ) -> list[Any]:
        """The predictions, one an example, from what was inferred, one a feature."""

    def show(self, feature: Any, view: ModelView) -> list[str]:
        """A feature with its target in lines for people: the text, and below it what is to be learned."""
        ids = feature.inputs["input_ids"]
        return [show_tokens(ids, [False] * len(ids), view.tokenizer), f"label: {self.show_target(feature, view)}"]

    def show_target(self, feature: Any, view: ModelView) -> str:
        """What a sequence as a whole is to give: the name of an output."""
        number: int = feature.targets["labels"]
        return view.outputs[number]

    @abstractmethod
    def samples(self) -> list[Record]:
        """Two short records of this task, with answers, to try a model on."""

    @abstractmethod
    def score(self, examples: Sequence[Any], predictions: Sequence[Any]) -> tuple[dict[str, float], Report]:
        """The metrics, headline first, and the report per class."""

    @abstractmethod
    def present(self, example: Any, prediction: Any, *, scores: bool) -> Any:
        """A prediction as the user sees it."""


@dataclass(frozen=True)
class LabelledTask(Task):
    """A task whose head has outputs with names, which are given or read from data."""

    labels: Sequence[Label] | None = None
    """The names of the classes; None: read from the data of the first `fit`."""

    def __post_init__(self) -> None:
        if self.labels is not None:
            object.__setattr__(self, "labels", self.clean_labels(self.labels))

    @property
    def ready(self) -> bool:
        return self.labels is not None

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

    def with_labels(self, labels: Sequence[Label]) -> LabelledTask:
        """The same task with these labels."""
        return replace(self, labels=self.clean_labels(labels))

    def outputs(self) -> tuple[str, ...]:
        return tuple(map(str, self.labels or ()))

    @abstractmethod
    def find_labels(self, examples: Sequence[Any]) -> tuple[Label, ...]:
        """The labels that occur, sorted."""

    @abstractmethod
    def labels_of(self, outputs: Sequence[str]) -> tuple[Label, ...] | None:
        """The labels behind the outputs of a head trained elsewhere; None when it is not of this task's form."""

    def unknown_label(self, place: str, label: Label) -> DataError:
        """The error for a label that is none of the task's."""
        known = list(map(str, self.labels or ()))
        names = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
        return DataError(
            f"{place}: label {label!r} is not among the labels. {nearest(str(label), known)}Labels: {names}. "
            "Correct the record, or adapt with labels=[…] that include it."
        )


def count_targets(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The targets of a batch: the labels that are not ignored where every token may have one, else the rows."""
    labels = batch.get("labels")
    if labels is None or labels.ndim == 1 or labels.is_floating_point():
        some = next(iter(batch.values()))
        return some.new_tensor(len(some))
    return (labels != IGNORED).sum()


def filler(name: str, tokenizer: PreTrainedTokenizerBase) -> int:
    """What stands at padded positions of this argument of a model."""
    known: dict[str, int] = {
        "input_ids": int(tokenizer.pad_token_id or 0),
        "token_type_ids": tokenizer.pad_token_type_id,
        "labels": IGNORED,
    }
    return known.get(name, 0)


def pad(rows: Sequence[Any], filler: int) -> torch.Tensor:
    """Rows of numbers as `(B, T)`, the shorter ones filled up on the right; single numbers as `(B,)`."""
    import torch

    if not isinstance(rows[0], (list, np.ndarray)):
        return torch.tensor(rows)
    if isinstance(rows[0][0], float):  # one number a label
        return torch.tensor(rows)
    length = max(map(len, rows))
    padded = np.full((len(rows), length), filler, dtype=np.int64)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return torch.from_numpy(padded)
