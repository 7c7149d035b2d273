"""Tasks whose outputs have names, and the names: given, or read from data."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from lightadapt.data import Records
from lightadapt.errors import DataError, LightAdaptError, nearest
from lightadapt.tasks.encoding.fields import check_characters
from lightadapt.tasks.task import Task

Label: TypeAlias = str | int


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
        for label in labels:
            if isinstance(label, str):
                check_characters("labels", "a name", label)
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


def clean_label(records: Records, index: int, name: str, label: Any, known: Sequence[Label] | None) -> Label:
    """A label from a field of a record, checked, and as the known labels write it.

    Raises:
        DataError: it is neither a name nor a class number.
    """
    place = records.place(index)
    label = label.item() if isinstance(label, np.generic) else label
    if type(label) not in (str, int):
        raise DataError(
            f"{place}: {name} is {label!r} ({type(label).__name__}). "
            "A label is a name or a class number; convert it with str() or int()."
        )
    if label == "":
        raise DataError(f"{place}: {name} is empty. Remove the record or fill it in.")
    if isinstance(label, str):
        check_characters(place, name, label)
    if known is not None and label not in known:
        # A text file cannot tell the class number 1 from the name '1'.
        return next((other for other in known if str(other) == str(label)), label)
    return label  # type: ignore[no-any-return]


def sorted_labels(labels: Iterable[Label]) -> tuple[Label, ...]:
    """The labels that occur, each once, numbers before names."""
    return tuple(sorted(set(labels), key=lambda label: (isinstance(label, str), label)))
