"""Features: the sequences that a model reads, what is to be learned of each, and their padding to a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The target that no loss counts, by the convention of torch's cross entropy."""


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


class Instance(NamedTuple):
    """One example of those that are counted, to be looked up."""

    example: int
    what: str
    """What was found in it, and in which field."""


@dataclass(frozen=True)
class Count:
    """How many could not be encoded as they are; the counts of several pieces of the data add up."""

    text: str
    """The sentence for the user, with `{count}` and `{total}`, and `{first}` where there is a first."""
    count: int
    total: int | None = None
    """How many there are in all, counted also where none was found; None: as many as examples."""
    first: Instance | None = None

    def behind(self, examples: int) -> Count:
        """The same of a piece of the data that stands behind so many examples."""
        first = None if self.first is None else self.first._replace(example=self.first.example + examples)
        return replace(self, first=first)


@dataclass
class Encoded:
    """The features of some examples, and what has to be said of them."""

    features: list[Any]
    counts: list[Count] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """The sentences about these examples alone."""
        return as_notes(self.counts, len({feature.example for feature in self.features}))


def _numbered(index: int) -> str:
    return f"Record {index}"


def as_notes(counts: Iterable[Count], examples: int, place: Callable[[int], str] = _numbered) -> list[str]:
    """A sentence for each text of which something was counted, over all pieces of so many examples.

    Args:
        place: where the example of an index comes from, such as a line of a file.
    """
    found: dict[str, tuple[int, int]] = {}
    first: dict[str, str] = {}
    for each in counts:
        count, total = found.get(each.text, (0, 0))
        found[each.text] = (count + each.count, examples if each.total is None else total + each.total)
        if each.first is not None:
            first.setdefault(each.text, f"{place(each.first.example)}, {each.first.what}")
    return [
        text.format(count=count, total=total, first=first.get(text)) for text, (count, total) in found.items() if count
    ]


def filler(name: str, tokenizer: PreTrainedTokenizerBase) -> int:
    """What stands at padded positions of this argument of a model."""
    known: dict[str, int] = {
        "input_ids": int(tokenizer.pad_token_id or 0),
        "token_type_ids": tokenizer.pad_token_type_id,
        "labels": IGNORED,
    }
    return known.get(name, 0)


def pad(rows: Sequence[Any], filler: int, width: Callable[[int], int] = int) -> np.ndarray:
    """Rows of numbers as `(B, T)`, the shorter ones filled up on the right; single numbers as `(B,)`.

    Args:
        width: T for the length of the longest row.
    """
    single = not isinstance(rows[0], (list, np.ndarray))
    if single or isinstance(rows[0][0], float):  # one number a label
        array = np.asarray(rows)
        return array.astype(np.float32) if array.dtype.kind == "f" else array.astype(np.int64)
    padded = np.full((len(rows), width(max(map(len, rows)))), filler, dtype=np.int64)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return padded


def unpad(rows: Iterable[np.ndarray], features: Sequence[Any]) -> list[np.ndarray]:
    """What a model gave for each feature: `(T, K)` without the padding, or `(K,)` as it is."""
    pairs = zip(rows, features, strict=True)
    # Copies, since views would keep the whole padded batch.
    return [(row[: len(feature)] if row.ndim == 2 else row).copy() for row, feature in pairs]
