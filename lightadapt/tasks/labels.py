"""Tasks whose outputs have names, and the names: given, or read from data."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from unicodedata import category, normalize

from lightadapt.data import Records, is_collection
from lightadapt.errors import DataError, LightAdaptError, listed, nearest, shown, warn
from lightadapt.tasks.decoding.doubt import Doubt
from lightadapt.tasks.encoding.fields import check_characters, plain
from lightadapt.tasks.encoding.view import ModelView
from lightadapt.tasks.task import Task

Label: TypeAlias = str | int
LARGEST = 2**63
"""Class numbers are below it, as in every format that keeps them."""


@dataclass(frozen=True)
class LabelledTask(Task):
    """A task whose head has outputs with names, which are given or read from data."""

    labels: Sequence[Label] | None = None
    """The names of the classes; None: read from the data of the first `fit`."""
    descriptions: Mapping[str, Sequence[str]] | None = field(default=None, kw_only=True)
    """What labels mean, in one or several wordings each: `{label: description}` or `{label: [description, …]}`. It may
    be given in the place of `labels`."""

    def __post_init__(self) -> None:
        if isinstance(self.labels, Mapping):
            object.__setattr__(self, "descriptions", self.labels)
            object.__setattr__(self, "labels", tuple(self.labels))
        if self.labels is not None:
            object.__setattr__(self, "labels", self.clean_labels(self.labels))
        if self.descriptions is not None:
            object.__setattr__(self, "descriptions", clean_descriptions(self.descriptions, self.labels))

    @property
    def ready(self) -> bool:
        return self.labels is not None

    def clean_labels(self, labels: Sequence[Label]) -> tuple[Label, ...]:
        """The given labels, checked: at least one, all names or all numbers, none twice."""
        if isinstance(labels, str):
            raise LightAdaptError(
                f"labels={shown(labels)} is one text. Give a list of names: labels=[{shown(labels)}, …]"
            )
        labels = tuple(map(plain, labels))
        if not labels:
            raise LightAdaptError("labels is empty. Name at least one label, or leave labels out to infer them.")
        kinds = {type(label) for label in labels}
        if kinds not in ({str}, {int}):
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise LightAdaptError(f"labels holds values of type {names}. Give names only, or class numbers only.")
        if not all(str(label).strip() for label in labels if isinstance(label, str)):
            raise LightAdaptError("labels holds an empty name. Give every label a name.")
        for label in labels:
            _check_label("labels", "labels", label)
        twice = [label for label, count in Counter(labels).items() if count > 1]
        if twice:
            raise LightAdaptError(f"labels names {shown(twice[0])} twice. Name each label once.")
        return labels

    def with_labels(self, labels: Sequence[Label]) -> LabelledTask:
        """The same task with these labels, with a warning for two that seem to be one."""
        found = self.clean_labels(labels)
        warn_of_near_duplicates(found)
        return replace(self, labels=found)

    def outputs(self) -> tuple[str, ...]:
        return tuple(map(str, self.labels or ()))

    def meanings(self) -> list[tuple[str, ...]]:
        """What stands for each label where texts are compared with it: its descriptions, or its name in words."""
        known = self.descriptions or {}
        return [tuple(known.get(str(label), ())) or (in_words(str(label)),) for label in self.labels or ()]

    def meanings_of(self, outputs: Sequence[str]) -> list[tuple[str, ...]]:
        """Likewise, of the outputs of a head in their order."""
        found = dict(zip(map(str, self.labels or ()), self.meanings(), strict=True))
        return [found[name] for name in outputs]

    @abstractmethod
    def find_labels(self, examples: Sequence[Any]) -> tuple[Label, ...]:
        """The labels that occur, sorted."""

    def classes_of(self, examples: Sequence[Any]) -> list[Sequence[Hashable]]:
        """The labels of each example; none for one in which none holds."""
        found: list[Sequence[Hashable]] = []
        for example in examples:
            try:
                found.append(self.find_labels([example]))
            except LightAdaptError:  # it is the whole of the data that needs one
                found.append(())
        return found

    def doubts(
        self, examples: Sequence[Any], features: Sequence[Any], inferred: Sequence[Any], view: ModelView
    ) -> list[Doubt]:
        """How unsure the model is of each example, from what was inferred; none for a task that does not tell."""
        return []

    @abstractmethod
    def labels_of(self, outputs: Sequence[str]) -> tuple[Label, ...] | None:
        """The labels behind the outputs of a head trained elsewhere; None when it is not of this task's form."""

    def unknown_label(self, place: str, label: Label) -> DataError:
        """The error for a label that is none of the task's."""
        known = list(map(str, self.labels or ()))
        return DataError(
            f"{place}: label {shown(label)} is not among the labels. {nearest(str(label), known)}"
            f"Labels: {listed(known, 20)}. Correct the record, or adapt with labels=[…] that include it."
        )


def clean_descriptions(given: Any, labels: Sequence[Label] | None) -> dict[str, tuple[str, ...]]:
    """The descriptions of labels by the names of their outputs, checked.

    Raises:
        LightAdaptError: there is no such label, or a description is no text.
    """
    if not isinstance(given, Mapping):
        raise LightAdaptError(f"descriptions={shown(given)}: give {{label: description}}.")
    found: dict[str, tuple[str, ...]] = {}
    for label, meant in given.items():
        texts = (meant,) if isinstance(meant, str) else tuple(meant) if is_collection(meant) else ()
        if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise LightAdaptError(
                f"The description of label {shown(label)} is {shown(meant)}. Give a text, or a list of texts that mean "
                "the same."
            )
        for text in texts:
            check_characters("labels", f"the description of {shown(label)}", text)
        if labels is not None and str(label) not in map(str, labels):
            known = list(map(str, labels))
            raise LightAdaptError(
                f"There is a description of {shown(label)}, which is no label. {nearest(str(label), known)}"
                f"Labels: {listed(known, 20)}."
            )
        found[str(label)] = texts
    return found


def in_words(name: str) -> str:
    """The name of a label as a text: `card_arrival`, `card-arrival` and `CardArrival` become `card arrival`.

    >>> in_words("card_arrival"), in_words("CardArrival"), in_words("NUM")
    ('card arrival', 'card arrival', 'NUM')
    """
    parted = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", name)
    words = re.sub(r"[\s_-]+", " ", parted).strip()
    return words.lower() if parted != name else words


def clean_label(records: Records, index: int, name: str, label: Any, known: Sequence[Label] | None) -> Label:
    """A label from a field of a record, checked, and as the known labels write it.

    Raises:
        DataError: it is neither a name nor a class number.
    """
    place = records.place(index)
    label = plain(label)
    if type(label) not in (str, int):
        raise DataError(
            f"{place}: {name} is {shown(label)} ({type(label).__name__}). "
            "A label is a name or a class number; convert it with str() or int()."
        )
    if isinstance(label, str) and not label.strip():
        raise DataError(f"{place}: {name} is empty. Remove the record or fill it in.")
    _check_label(place, name, label)
    if known is not None and label not in known:
        # A text file cannot tell the class number 1 from the name '1'.
        return next((other for other in known if str(other) == str(label)), label)
    return label  # type: ignore[no-any-return]


def sorted_labels(labels: Iterable[Label]) -> tuple[Label, ...]:
    """The labels that occur, each once, numbers before names."""
    return tuple(sorted(set(labels), key=lambda label: (isinstance(label, str), label)))


def _check_label(place: str, name: str, label: Label) -> None:
    """Raise for a label that no file can keep."""
    if isinstance(label, str):
        check_characters(place, name, label)
    elif not -LARGEST <= label < LARGEST:
        raise DataError(f"{place}: {name} holds {shown(label)}. Give class numbers of at most 18 digits, or names.")


def warn_of_near_duplicates(labels: Sequence[Label]) -> None:
    """Warn of labels that differ in case, spaces, hyphens or the form of a number alone: most often they are one."""
    spellings: dict[str, list[Label]] = {}
    for label in labels:
        spellings.setdefault(spelt_alike(str(label)), []).append(label)
    pairs = [f"{shown(one, 40)} and {shown(other, 40)}" for one, other, *_ in (s for s in spellings.values() if s[1:])]
    if pairs:
        more = f" (and {len(pairs) - 3} more)" if len(pairs) > 3 else ""
        warn(
            f"Nearly the same labels: {'; '.join(pairs[:3])}{more}. They are learned as classes of their own, which "
            "lowers every score if they mean the same: write them alike in the data."
        )


def spelt_alike(label: str) -> str:
    """What is left of a label without what people and tools write one way or another."""
    text = "".join(each for each in normalize("NFKC", label).casefold() if category(each) != "Cf")
    text = re.sub(r"[\s_-]+", " ", text).strip()
    return re.sub(r"(\d)\.0+", r"\1", text) if re.fullmatch(r"\d+\.0+", text) else text
