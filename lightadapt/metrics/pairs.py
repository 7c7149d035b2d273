"""What is true beside what was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from lightadapt.errors import LightAdaptError

G = TypeVar("G")
P = TypeVar("P")


def paired(gold: Sequence[G], predicted: Sequence[P]) -> list[tuple[G, P]]:
    """Each true value with its prediction.

    Raises:
        LightAdaptError: there are more of the one than of the other.
    """
    if len(gold) != len(predicted):
        raise LightAdaptError(f"There are {len(gold)} true values but {len(predicted)} predictions. Give one for each.")
    return list(zip(gold, predicted, strict=True))


def with_references(references: Sequence[Sequence[str]], predictions: Sequence[str]) -> list[tuple[list[str], str]]:
    """The references of each record, a list that may be empty, with its prediction.

    Raises:
        LightAdaptError: the references of a record are one text, or there are more of the one side than of the other.
    """
    for index, texts in enumerate(references):
        if isinstance(texts, str):  # would be read as one reference a character
            raise LightAdaptError(
                f"Record {index}: references is the text {texts!r}. Give a list of texts: [{texts!r}]."
            )
    return [(list(texts), prediction) for texts, prediction in paired(references, predictions)]
