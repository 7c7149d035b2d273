"""Scores of relations, which may have a direction."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from lightadapt.errors import LightAdaptError
from lightadapt.metrics.pairs import paired
from lightadapt.metrics.report import Report
from lightadapt.metrics.tally import Counted, count_sets, precision_recall_f1, ratio

_DIRECTION = re.compile(r"\((e1,\s*e2|e2,\s*e1)\)$")


def relation_scores(
    gold: Sequence[str | int], predicted: Sequence[str | int], without: Collection[str]
) -> tuple[dict[str, float], Report]:
    """Macro F1 over the relations that occur in gold, except those in `without`; accuracy; the report per relation.

    The official rule of SemEval-2010 task 8, "(9+1)-way with directionality" (Hendrickx et al., 2010,
    aclanthology.org/S10-1006). `Cause-Effect(e1,e2)` and `Cause-Effect(e2,e1)` are one relation; a prediction is
    right when relation and direction are, and one in the wrong direction still counts as predicted. Labels without a
    direction are relations of their own, so that other data gets plain macro F1. A relation that is only predicted
    has no F1 in the mean; its predictions cost the others recall. Accuracy is over all records and labels.

    >>> gold = ["Cause-Effect(e1,e2)", "Cause-Effect(e2,e1)", "Other"]
    >>> relation_scores(gold, ["Cause-Effect(e1,e2)", "Cause-Effect(e1,e2)", "Other"], without=["Other"])[0]["macro_f1"]
    0.5

    Raises:
        LightAdaptError: `without` is one text, or there are more of the one side than of the other.
    """
    if isinstance(without, str):  # would be searched for parts of itself
        raise LightAdaptError(f"without is the text {without!r}. Give a list of labels: [{without!r}].")
    pairs = [(str(one), str(other)) for one, other in paired(gold, predicted)]
    support = Counter(_relation(one) for one, _ in pairs)
    proposed = Counter(_relation(other) for _, other in pairs)
    right = Counter(_relation(one) for one, other in pairs if one == other)
    report = {
        name: {
            "precision": right[name] / (proposed[name] or 1),
            "recall": right[name] / (support[name] or 1),
            "f1": 2 * right[name] / (proposed[name] + support[name]),
            "support": support[name],
        }
        for name in sorted(support | proposed)
    }
    counted = [report[name]["f1"] for name in support if name not in without]
    macro_f1 = sum(counted) / (len(counted) or 1)
    return {"macro_f1": macro_f1, "accuracy": right.total() / (len(pairs) or 1)}, report


def relation_tally(
    gold: Sequence[str | int],
    predicted: Sequence[str | int],
    without: Collection[str],
    labels: Sequence[str | int] = (),
) -> Counted:
    """The scores of `relation_scores` for any choice of the records.

    Args:
        labels: those that may occur; others that do are added.
    """
    true, given = [{str(label)} for label in gold], [{str(label)} for label in predicted]
    names = sorted({_relation(str(label)) for label in {*map(str, labels), *set().union(*true, *given)}})
    counted = np.array([name not in without for name in names])

    def scores(sums: np.ndarray) -> dict[str, np.ndarray]:
        support, _, right = np.split(sums, 3, axis=1)
        f1, chosen = precision_recall_f1(sums)[2], (support > 0) & counted
        return {
            "macro_f1": ratio((f1 * chosen).sum(1), chosen.sum(1)),
            "accuracy": ratio(right.sum(1), support.sum(1)),
        }

    return Counted.of(count_sets(true, given, names, key=_relation), scores)


def _relation(label: str) -> str:
    return _DIRECTION.sub("", label)
