"""The metrics by name, for the library `evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from lightadapt.data.spans import Span
from lightadapt.errors import LightAdaptError, nearest
from lightadapt.metrics.classification import classification_scores
from lightadapt.metrics.entities import entity_scores
from lightadapt.metrics.multilabel import multilabel_scores
from lightadapt.metrics.questions import question_scores
from lightadapt.metrics.regression import regression_scores
from lightadapt.metrics.relations import relation_scores
from lightadapt.metrics.texts import TEXT_METRICS, text_scores

if TYPE_CHECKING:
    import evaluate

METRICS = ("classification", "multilabel", "relation", "entities", "regression", "questions", *TEXT_METRICS)
"""The names that `load_metric` knows."""
LOWER_IS_BETTER = ("loss", "perplexity", "rmse")
"""The scores of tasks of which less is better."""


def load_metric(
    name: str, *, labels: Sequence[str | int] | None = None, without: Collection[str] = ()
) -> evaluate.Metric:
    """A metric for `evaluate`, alone or in `evaluate.combine([…])`; it needs no download and writes no file.

    `compute(predictions=…, references=…)` returns the scores of the function of lightadapt.metrics; `add` and
    `add_batch` collect first. `name` settles what the two hold, per record:

    - classification, relation: a label
    - multilabel: a list of labels
    - entities: tags in any scheme, or dicts with `start`, `end` and `label`, as `predict` returns them
    - regression: a number
    - questions and the text metrics: the prediction is a text, the references are a list of texts, or one text

    >>> metric = load_metric("questions")
    >>> metric.compute(predictions=["in 1991"], references=[["1991", "August 1991"]])["exact_match"]
    0.0

    Args:
        name: one of `METRICS`.
        labels: of multilabel, the labels to average over; those that occur when it is None.
        without: of relation, the labels that stand for no relation.

    Raises:
        LightAdaptError: an unknown name, or an option that the metric does not have.
    """
    if name not in METRICS:
        raise LightAdaptError(f"Unknown metric {name!r}. {nearest(name, METRICS)}Metrics: {', '.join(METRICS)}.")
    for option, owner, given in (("labels", "multilabel", labels is not None), ("without", "relation", bool(without))):
        if given and name != owner:
            raise LightAdaptError(f"The metric {name!r} has no option {option}, which {owner!r} has. Leave it out.")
    from lightadapt.metrics.evaluate_metric import EvaluateMetric

    scores: dict[str, tuple[str, Callable[[Any, Any], dict[str, float]]]] = {
        "classification": ("label", lambda gold, predicted: classification_scores(gold, predicted)[0]),
        "relation": ("label", lambda gold, predicted: relation_scores(gold, predicted, without)[0]),
        "multilabel": ("labels", partial(_multilabel, labels=labels)),
        "entities": ("entities", lambda gold, predicted: entity_scores(_spans(gold), _spans(predicted))[0]),
        "regression": ("number", regression_scores),
        "questions": ("texts", question_scores),
    }
    layout, score = scores.get(name) or ("texts", partial(text_scores, names=[name]))
    return EvaluateMetric(name, layout, score)


def _spans(records: list[list[dict[str, Any]]]) -> list[list[Span]]:
    return [[Span(**span) for span in record] for record in records]


def _multilabel(
    gold: list[list[str]], predicted: list[list[str]], labels: Sequence[str | int] | None
) -> dict[str, float]:
    if labels is None:
        labels = sorted({label for record in (*gold, *predicted) for label in record})
    return multilabel_scores(gold, predicted, [str(label) for label in labels])[0]
