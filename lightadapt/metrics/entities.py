"""Scores of entity spans."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lightadapt.data.spans import Span, write_tags
from lightadapt.metrics.report import Report, as_report
from lightadapt.metrics.tally import Counted, count_sets, precision_recall_f1


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
    return {name: float(value) for name, value in scores.items()}, as_report(report)


def entity_tally(gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]]) -> Counted:
    """The scores of `entity_scores` for any choice of the records."""

    def scores(sums: np.ndarray) -> dict[str, np.ndarray]:
        precision, recall, f1 = (each[:, 0] for each in precision_recall_f1(sums))
        return {"f1": f1, "precision": precision, "recall": recall}

    return Counted.of(count_sets(gold, predicted, [None], key=lambda span: None), scores)


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
