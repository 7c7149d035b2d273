"""Scores of labels: one a record."""

from __future__ import annotations

from collections.abc import Sequence

from lightadapt.metrics.report import Report, as_report


def classification_scores(gold: Sequence[str | int], predicted: Sequence[str | int]) -> tuple[dict[str, float], Report]:
    """Accuracy and macro F1 over the classes that occur, and the report per class (scikit-learn)."""
    from sklearn.metrics import classification_report

    # As text: scikit-learn cannot mix kinds, and a class number must not read as a count.
    report = classification_report(
        [str(label) for label in gold], [str(label) for label in predicted], output_dict=True, zero_division=0
    )
    scores = {"accuracy": float(report.pop("accuracy")), "macro_f1": float(report["macro avg"]["f1-score"])}
    return scores, as_report(report)
