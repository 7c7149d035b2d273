"""Scores, computed by well-kept libraries on what the tasks decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from lightadapt.spans import Span, write_tags

Report: TypeAlias = dict[str, dict[str, float]]
"""Per class: precision, recall, f1 and support."""


def classification_scores(gold: Sequence[str | int], predicted: Sequence[str | int]) -> tuple[dict[str, float], Report]:
    """Accuracy and macro F1 over the classes that occur, and the report per class (scikit-learn)."""
    from sklearn.metrics import classification_report

    # As text: scikit-learn cannot mix kinds, and a class number must not read as a count.
    report = classification_report(
        [str(label) for label in gold], [str(label) for label in predicted], output_dict=True, zero_division=0
    )
    scores = {"accuracy": float(report.pop("accuracy")), "macro_f1": float(report["macro avg"]["f1-score"])}
    return scores, _report(report)


def entity_scores(
    gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]]
) -> tuple[dict[str, float], Report]:
    """Micro F1, precision and recall of whole entities, and the report per type: seqeval's strict mode.

    An entity counts when its start, end and type are all right. The spans of one record must not overlap.
    """
    from seqeval.metrics import classification_report
    from seqeval.scheme import IOB2

    if not any(gold) and not any(predicted):  # seqeval cannot score what holds no entity at all
        return {"f1": 0.0, "precision": 0.0, "recall": 0.0}, {}
    pairs = [_as_tags(one, other) for one, other in zip(gold, predicted, strict=True)]
    report = classification_report(
        [tags for tags, _ in pairs],
        [tags for _, tags in pairs],
        mode="strict",
        scheme=IOB2,
        output_dict=True,
        zero_division=0,
    )
    micro = report.pop("micro avg")
    scores = {"f1": micro["f1-score"], "precision": micro["precision"], "recall": micro["recall"]}
    return {name: float(value) for name, value in scores.items()}, _report(report)


def _as_tags(gold: Sequence[Span], predicted: Sequence[Span]) -> tuple[list[str], list[str]]:
    """Both span lists as tags over the places where any of them begins or ends.

    Character offsets would make sequences as long as the text; only the order of the boundaries matters.
    """
    boundaries = sorted({edge for span in (*gold, *predicted) for edge in span[:2]})
    place = {edge: number for number, edge in enumerate(boundaries)}
    gold_tags, predicted_tags = (
        write_tags([Span(place[start], place[end], label) for start, end, label in spans], len(boundaries))
        for spans in (gold, predicted)
    )
    return gold_tags, predicted_tags


def _report(raw: dict[str, dict[str, Any]]) -> Report:
    return {
        name: {
            "precision": float(row["precision"]),
            "recall": float(row["recall"]),
            "f1": float(row["f1-score"]),
            "support": int(row["support"]),
        }
        for name, row in raw.items()
        if not name.endswith(" avg")
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
