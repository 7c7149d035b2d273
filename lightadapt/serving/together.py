"""Which texts are computed in one pass of the model, and the model as that pass needs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby

from transformers import PreTrainedModel

from lightadapt.adapted import Adapted
from lightadapt.errors import NoAdaptationError
from lightadapt.serving.drafts import Draft
from lightadapt.serving.stepping import mixed


def in_order(draft: Draft) -> tuple[bool, str]:
    """The key by which texts are sorted: those of one pass stand together, and in it those of one adapter."""
    return draft.stepper.mixes, draft.name


def passes(drafts: Sequence[Draft]) -> list[slice]:
    """The parts of sorted texts that are computed in one pass each: all that mix, and each adapter that does not."""
    found, begin = [], 0
    for _, group in groupby(drafts, lambda draft: "" if draft.stepper.mixes else draft.name):
        count = len(list(group))
        found.append(slice(begin, begin + count))
        begin += count
    return found


def _adapter_of(draft: Draft) -> str:
    """The name that its adapter has in the model."""
    return draft.stepper.runner.adaptation.adapter.name


@contextmanager
def computing(adapted: Adapted, drafts: Sequence[Draft], tokens: int) -> Iterator[PreTrainedModel]:
    """The model for the texts of one pass, inside a `with` block in which other threads wait.

    Args:
        tokens: how many of each text are computed.

    Raises:
        NoAdaptationError: an adapter was removed meanwhile.
    """
    first = drafts[0]
    with adapted.computing(first.name) as runner:
        for draft in drafts:
            if draft.stepper.gone:  # known before it is removed, and so in time
                raise NoAdaptationError(f"The adapter {draft.name!r} was removed meanwhile.")
        groups = [(name, len(list(group))) for name, group in groupby(drafts, _adapter_of)]
        if len(groups) == 1:
            yield runner.model
            return
        stacks = adapted.stacks([name for name, _ in groups])
        with mixed(runner, runner.model, groups, tokens, stacks):
            yield runner.model
