"""Scores of labels: any number a record."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from lightadapt.errors import LightAdaptError, nearest
from lightadapt.metrics.pairs import paired
from lightadapt.metrics.report import Report
from lightadapt.metrics.tally import Counted, count_sets, precision_recall_f1, ratio


def multilabel_scores(
    gold: Sequence[Collection[str | int]], predicted: Sequence[Collection[str | int]], labels: Sequence[str | int]
) -> tuple[dict[str, float], Report]:
    """Micro and macro F1 over `labels`, and the report per label (scikit-learn).

    Micro F1 counts all labels of all records alike; macro F1 is the mean over `labels`, where a label that is
    neither true nor predicted anywhere counts as 0.

    >>> scores, report = multilabel_scores([["billing", "urgent"], []], [["billing"], []], ["billing", "urgent"])
    >>> scores["macro_f1"], report["urgent"]["recall"]
    (0.5, 0.0)
    """
    from sklearn.metrics import precision_recall_fscore_support

    pairs = paired(gold, predicted)
    truth = _indicators([one for one, _ in pairs], labels)
    guess = _indicators([other for _, other in pairs], labels)
    columns = range(len(labels))
    per_label = precision_recall_fscore_support(truth, guess, labels=columns, zero_division=0)
    _, _, micro, _ = precision_recall_fscore_support(truth, guess, labels=columns, average="micro", zero_division=0)
    names = ("precision", "recall", "f1", "support")
    report = {
        str(label): {**dict(zip(names, map(float, row[:3]), strict=False)), "support": int(row[3])}
        for label, row in zip(labels, zip(*per_label, strict=True), strict=True)
    }
    return {"micro_f1": float(micro), "macro_f1": float(per_label[2].mean())}, report


def multilabel_tally(
    gold: Sequence[Collection[str | int]], predicted: Sequence[Collection[str | int]], labels: Sequence[str | int]
) -> Counted:
    """The scores of `multilabel_scores` for any choice of the records."""
    names = sorted(labels, key=str)

    def scores(sums: np.ndarray) -> dict[str, np.ndarray]:
        true, given, right = (side.sum(1) for side in np.split(sums, 3, axis=1))
        macro = precision_recall_f1(sums)[2].mean(1)
        return {"micro_f1": ratio(2 * right, true + given), "macro_f1": macro}

    return Counted.of(count_sets(gold, predicted, names), scores)


def _indicators(records: Sequence[Collection[str | int]], labels: Sequence[str | int]) -> np.ndarray:
    """`(N + 1, labels + 1)`: 1 where a record has a label.

    The last row and column are empty and change no count; without them scikit-learn refuses a table of no rows, and
    takes one of a single column for something else.
    """
    column = {label: number for number, label in enumerate(labels)}
    table = np.zeros((len(records) + 1, len(labels) + 1), dtype=int)
    for index, record in enumerate(records):
        for label in record:
            if label not in column:
                raise LightAdaptError(
                    f"Record {index}: {label!r} is not among the labels. {nearest(str(label), map(str, labels))}"
                    f"Labels: {', '.join(map(str, labels))}."
                )
            table[index, column[label]] = 1
    return table
