"""Scores of labels: one a record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lightadapt.metrics.report import Report, as_report
from lightadapt.metrics.tally import Counted, count_sets, precision_recall_f1, ratio


def classification_scores(gold: Sequence[str | int], predicted: Sequence[str | int]) -> tuple[dict[str, float], Report]:
    """Accuracy and macro F1 over the classes that occur, and the report per class (scikit-learn)."""
    from sklearn.metrics import classification_report

    # As text: scikit-learn cannot mix kinds, and a class number must not read as a count.
    report = classification_report(
        [str(label) for label in gold], [str(label) for label in predicted], output_dict=True, zero_division=0
    )
    scores = {"accuracy": float(report.pop("accuracy")), "macro_f1": float(report["macro avg"]["f1-score"])}
    return scores, as_report(report)


def classification_tally(
    gold: Sequence[str | int], predicted: Sequence[str | int], labels: Sequence[str | int] = ()
) -> Counted:
    """The scores of `classification_scores` for any choice of the records.

    Args:
        labels: those that may occur; others that do are added.
    """
    true, given = [{str(label)} for label in gold], [{str(label)} for label in predicted]
    names = sorted({*map(str, labels), *set().union(*true, *given)})

    def scores(sums: np.ndarray) -> dict[str, np.ndarray]:
        of_class, right = np.split(sums, 3, axis=1)[0], sums[:, 2 * len(names) :]
        occurs = (sums[:, : len(names)] + sums[:, len(names) : 2 * len(names)]) > 0
        f1 = precision_recall_f1(sums)[2]
        return {"accuracy": ratio(right.sum(1), of_class.sum(1)), "macro_f1": ratio(f1.sum(1), occurs.sum(1))}

    return Counted.of(count_sets(true, given, names), scores)
