"""The report per class, and its table."""

from __future__ import annotations

from typing import Any, TypeAlias

Report: TypeAlias = dict[str, dict[str, float]]
"""Per class: precision, recall, f1 and support."""


class ClassReport(Report):
    """Per class: precision, recall, F1 and support; it prints as a table, and `rows` has a dict for each class.

    >>> print(ClassReport({"refund": {"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 4}}))
            precision  recall      f1  support
    refund      1.000   0.500   0.667        4
    """

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A dict for each class, with its name as `label`."""
        return [{"label": name, **row} for name, row in self.items()]

    def __str__(self) -> str:
        return format_report(self)

    __repr__ = __str__


AVERAGES = ("micro avg", "macro avg", "weighted avg", "samples avg")


def as_report(raw: dict[str, dict[str, Any]]) -> Report:
    """The classes of a `classification_report(output_dict=True)` of scikit-learn or seqeval, without the averages."""
    return {
        name: {
            "precision": float(row["precision"]),
            "recall": float(row["recall"]),
            "f1": float(row["f1-score"]),
            "support": int(row["support"]),
        }
        for name, row in raw.items()
        if name not in AVERAGES
    }


def format_report(report: Report) -> str:
    """The report as a table: a line per class with precision, recall, F1 and support."""
    width = max([len(name) for name in report] + [5])
    lines = [f"{'':{width}}  precision  recall      f1  support"]
    lines += [
        f"{name:{width}}  {row['precision']:9.3f}  {row['recall']:6.3f}  {row['f1']:6.3f}  {row['support']:7.0f}"
        for name, row in report.items()
    ]
    return "\n".join(lines)
