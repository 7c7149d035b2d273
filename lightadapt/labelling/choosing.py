"""Which records to label next: those that stand for many, and of which the model is unsure once it has learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lightadapt.adaptation.prediction import progress, run_model
from lightadapt.adaptation.requests import Asked, Request, read_unlabelled
from lightadapt.adaptation.runner import Runner
from lightadapt.adaptation.vectors import vectors_of
from lightadapt.data.skipping import BadRecords
from lightadapt.errors import DataError, LightAdaptError, warn
from lightadapt.labelling.covering import cover
from lightadapt.labelling.results import Choice, Choices
from lightadapt.numbers import check_whole
from lightadapt.tasks import LabelledTask
from lightadapt.tasks.decoding.doubt import Doubt
from lightadapt.tasks.multiple_choice import MultipleChoice

SURE = 1e-3
"""The least doubt that counts, so that where the model is sure of all, those that stand for many come first."""


def choose(
    runner: Runner,
    texts: Any,
    n: int,
    *,
    labelled: Any = None,
    columns: Mapping[str, str | int] | None,
    bad: BadRecords,
) -> Choices:
    """The `n` records that are worth labelling next; see `Adapted.choose`.

    Raises:
        DataError: a record cannot be used, or there are fewer than `n`.
        LightAdaptError: `n` is no whole number above 0, or a record of the task is not one text.
    """
    check_whole("n", n, wanted="a whole number above 0")
    if isinstance(runner.task, MultipleChoice):
        raise LightAdaptError(
            "choose() compares records by one text each, and those of task 'multiple-choice' have one for each choice. "
            "Choose among the questions by an adaptation to another task, such as 'classification'."
        )
    request = Request(columns=columns)
    asked = read_unlabelled(runner, texts, request, bad, f"choose({{}}, {n})")
    bad.tell(len(asked.examples))
    count = len(asked.examples)
    if n > count:
        there = f"there {'is' if count == 1 else 'are'} {count:,} to choose from"
        raise DataError(f"choose(…, n={n:,}): {there}. " + (f"Give n of at most {count}." if count else "Give texts."))
    vectors = vectors_of(runner, asked.examples, adapted=False)
    known = vectors[:0]
    if labelled is not None:
        call = f"choose(texts, {n}, labelled={{}})"
        seen = read_unlabelled(runner, labelled, request, BadRecords(), call, called="labelled")
        known = vectors_of(runner, seen.examples, adapted=False) if len(seen.examples) else known
    doubts = doubts_of(runner, asked)
    weights = np.ones(count) if not doubts else np.array([max(SURE, each.value) ** 2 for each in doubts])
    picks = cover(vectors, weights.astype(np.float32), n, known=known, seed=runner.adaptation.design.seed)
    if len(picks) < n:
        warn(f"choose(…, n={n:,}) gives {len(picks):,} records: the others are nearly the same as these.")
    return Choices(
        Choice(
            asked.records.number(index),
            runner.task.text_of(asked.records.items[index]),
            _reason(doubts[index] if doubts else None, nearest_of),
            doubts[index].value if doubts else None,
        )
        for index, nearest_of in picks
    )


def doubts_of(runner: Runner, asked: Asked) -> list[Doubt]:
    """How unsure the model is of each record; none before it has learned, or where the task does not tell."""
    task = runner.task
    if not isinstance(task, LabelledTask) or not task.ready or runner.adaptation.head.is_untouched:
        return []
    features, sizes = runner.encode_checked(asked.examples, asked.records)
    model, view, tokens = runner.model, runner.view, sum(sizes.costs)
    bar = progress(len(features), tokens)
    with runner.adaptation.adapter.folded_if_it_pays(tokens), bar:
        inferred = run_model(
            model,
            features,
            sizes.costs,
            lambda batch: task.infer(model, batch, view),
            done=bar.update,
        )
    return task.doubts(asked.examples, features, inferred, view)


def _reason(doubt: Doubt | None, nearest_of: int) -> str:
    stands = f"the nearest of {nearest_of:,}" if nearest_of > 1 else "unlike the others"
    return stands if doubt is None else f"{doubt.reason}; {stands}"
