"""Scores, computed by well-kept libraries on what the tasks decoded."""

from lightadapt.metrics.by_name import METRICS, load_metric
from lightadapt.metrics.classification import classification_scores
from lightadapt.metrics.entities import entity_scores
from lightadapt.metrics.multilabel import multilabel_scores
from lightadapt.metrics.questions import answer_f1, normalize_answer, question_scores
from lightadapt.metrics.regression import regression_scores
from lightadapt.metrics.relations import relation_scores
from lightadapt.metrics.report import Report, format_report
from lightadapt.metrics.texts import TEXT_METRICS, text_scores

__all__ = [
    "METRICS",
    "TEXT_METRICS",
    "Report",
    "answer_f1",
    "classification_scores",
    "entity_scores",
    "format_report",
    "load_metric",
    "multilabel_scores",
    "normalize_answer",
    "question_scores",
    "regression_scores",
    "relation_scores",
    "text_scores",
]
