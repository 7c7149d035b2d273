"""Which labels are probably wrong, by what a model that has not seen them makes of their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lightadapt.adaptation.runner import Prepared
from lightadapt.adaptation.several import Several
from lightadapt.adaptation.vectors import vectors_of
from lightadapt.data import Data
from lightadapt.data.skipping import BadRecords
from lightadapt.errors import DataError, LightAdaptError, listed, warn
from lightadapt.labelling.fine_tuned_folds import fine_tuned_out_of_fold
from lightadapt.labelling.out_of_fold import folds_of, out_of_fold
from lightadapt.labelling.results import Suspect, Suspects
from lightadapt.numbers import check_whole
from lightadapt.tasks import LabelledTask
from lightadapt.tasks.classification import Classification
from lightadapt.tasks.multilabel import MultiLabel

TIMES = 5.0
"""How many times as probable as the given label another one has to be. Of 3, 4, 5 and 7, a fair one both where labels
are flipped to any other and where they are always flipped to the same one, which is harder to tell from a rule."""
LEAST = 1e-12
"""Probabilities below it count as it."""


def find_suspects(
    several: Several,
    data: Data,
    *,
    folds: int,
    thorough: bool,
    columns: Mapping[str, str | int] | None,
    bad: BadRecords,
) -> Suspects:
    """The records whose label is probably wrong, the most suspicious first; see `Adapted.suspects`.

    As in confident learning (Northcutt, Jiang and Chuang 2021), labels are held against probabilities of models that
    have learned from the other records. Records are sorted by how many times as probable the best other label is, and
    those for which it is `TIMES` or more are returned. With thresholds by class in place of this, as there, fewer of
    the labels that were flipped on Banking77 are found among as many records (docs/labelling.md).

    Raises:
        DataError: a record cannot be used, or nothing can be told apart.
        LightAdaptError: the task has no labels that can be judged.
    """
    check_whole("folds", folds, least=2)
    runner = several.in_use
    if not isinstance(runner.task, (Classification, MultiLabel)):
        raise LightAdaptError(
            f"suspects() judges labels of whole records, and task {runner.task.name!r} has none. It serves "
            "classification, relation and multilabel."
        )
    learned = runner.prepare(data, columns=columns, bad=bad)
    bad.tell(len(learned.examples))
    design = runner.adaptation.design
    if design.plan.unfrozen and not runner.adaptation.head.is_untouched:
        warn(
            f"suspects(): method {design.method.name!r} has changed the base itself. If it has learned "
            "from these records, it knows their wrong labels by heart: ask an adaptation that has not been trained."
        )
    judge = _judge_several if isinstance(learned.task, MultiLabel) else _judge_one
    found = sorted(judge(several, learned, folds, thorough), key=lambda pair: pair[0])
    return Suspects(suspect for _, suspect in found)


# ---- one label a record


def _judge_one(several: Several, learned: Prepared, folds: int, thorough: bool) -> Iterator[tuple[float, Suspect]]:
    """The suspects, each with the log of how many times as probable its label is as the best other one."""
    counts = Counter(example.label for example in learned.examples)
    alone = sorted((str(label) for label, count in counts.items() if count < 2))
    if alone:
        warn(
            f"suspects(): {len(alone)} label{'s' * (len(alone) > 1)} with a single record, which nothing tells right "
            f"from wrong, {'are' if len(alone) > 1 else 'is'} not judged: {listed(alone)}."
        )
    judged = [index for index, example in enumerate(learned.examples) if counts[example.label] > 1]
    names = sorted({learned.examples[index].label for index in judged}, key=str)
    if len(names) < 2:
        raise DataError("suspects() needs two labels or more with at least two records each. Give more data.")
    place = {name: number for number, name in enumerate(names)}
    given = np.array([place[learned.examples[index].label] for index in judged])
    parts = folds_of(given.tolist(), folds, several.in_use.adaptation.design.seed)
    if thorough:
        found = fine_tuned_out_of_fold(several, learned, judged, parts, names)
    else:
        examples = [learned.examples[index] for index in judged]
        found = out_of_fold(vectors_of(several.in_use, examples, adapted=False), given, parts)
    logs, rows = np.log(np.maximum(found, LEAST)), np.arange(len(given))
    own = logs[rows, given]
    logs[rows, given] = -np.inf
    best = logs.argmax(1)
    odds = own - logs[rows, best]
    for row in np.flatnonzero(odds <= -np.log(TIMES)):
        probability = float(found[row, given[row]])
        yield float(odds[row]), _suspect(learned, judged[row], names[given[row]], names[best[row]], probability)


# ---- several labels a record


def _judge_several(several: Several, learned: Prepared, folds: int, thorough: bool) -> Iterator[tuple[float, Suspect]]:
    """The suspects, each with the log odds of what is least probable of its labels: that one holds, or does not."""
    assert isinstance(learned.task, LabelledTask)
    names = list(learned.task.labels or ())
    held = np.array([[name in example.label for name in names] for example in learned.examples])  # (N, K)
    often = np.minimum(held.sum(0), (~held).sum(0)) > 1
    if not often.any():
        raise DataError(
            "suspects() needs a label that two records or more have, and two or more have not. Give more data."
        )
    if not often.all():
        few = [name for name, enough in zip(names, often, strict=True) if not enough]
        warn(f"suspects(): labels of fewer than two records, or of nearly all, are not judged: {listed(few)}.")
    names, held = [name for name, enough in zip(names, often, strict=True) if enough], held[:, often]
    seed = several.in_use.adaptation.design.seed
    if thorough:
        parts = folds_of([tuple(row) for row in held.tolist()], folds, seed)
        found = fine_tuned_out_of_fold(several, learned, range(len(held)), parts, names)
    else:
        vectors = vectors_of(several.in_use, learned.examples, adapted=False)
        columns = [out_of_fold(vectors, one.astype(int), folds_of(one.tolist(), folds, seed))[:, 1] for one in held.T]
        found = np.stack(columns, axis=1)
    sure = np.clip(np.where(held, found, 1 - found), LEAST, 1 - LEAST)  # of what is given
    odds = np.log(sure) - np.log(1 - sure)
    wrong = odds <= -np.log(TIMES)
    for row in np.flatnonzero(wrong.any(1)):
        given = [name for name, holds in zip(names, held[row], strict=True) if holds]
        suggested = [name for name, holds in zip(names, held[row] ^ wrong[row], strict=True) if holds]
        yield float(odds[row].min()), _suspect(learned, int(row), given, suggested, float(sure[row].min()))


def _suspect(learned: Prepared, index: int, given: Any, suggested: Any, probability: float) -> Suspect:
    records = learned.records
    text = learned.task.text_of(records.items[index])
    return Suspect(records.number(index), records.place(index), text, given, suggested, probability)
