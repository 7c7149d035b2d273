"""Which texts are computed in one pass of the model, and the model as that pass needs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby

from transformers import PreTrainedModel

from lightadapt.adapted import Adapted
from lightadapt.errors import LightAdaptError
from lightadapt.serving.drafts import Draft


def in_order(draft: Draft) -> str:
    """By what texts are sorted, so that those that compute alike are neighbours."""
    return draft.name


def passes(drafts: Sequence[Draft]) -> list[slice]:
    """The parts of sorted texts that are computed in one pass each: those of one adapter."""
    found, begin = [], 0
    for _, group in groupby(drafts, in_order):
        count = len(list(group))
        found.append(slice(begin, begin + count))
        begin += count
    return found


@contextmanager
def computing(adapted: Adapted, drafts: Sequence[Draft]) -> Iterator[PreTrainedModel]:
    """The model for the texts of one pass, inside a `with` block in which other threads wait.

    Raises:
        LightAdaptError: their adapter was removed meanwhile.
    """
    with adapted.computing(drafts[0].name) as runner:
        if runner is not drafts[0].stepper.runner:
            raise LightAdaptError(f"The adapter {drafts[0].name!r} was removed meanwhile.")
        yield runner.model
