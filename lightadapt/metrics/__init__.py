"""Scores, computed by well-kept libraries on what the tasks decoded."""

from lightadapt.metrics.by_name import LOWER_IS_BETTER, METRICS, load_metric
from lightadapt.metrics.calibration import Bin, expected_calibration_error, reliability
from lightadapt.metrics.classification import classification_scores
from lightadapt.metrics.confusion import (
    Confusion,
    LabelConfusion,
    confusion_of_labels,
    confusion_of_sets,
    confusion_of_spans,
)
from lightadapt.metrics.entities import entity_scores
from lightadapt.metrics.multilabel import multilabel_scores
from lightadapt.metrics.questions import answer_f1, normalize_answer, question_scores
from lightadapt.metrics.regression import regression_scores
from lightadapt.metrics.relations import relation_scores
from lightadapt.metrics.report import ClassReport, Report, format_report
from lightadapt.metrics.texts import OF_HUNDRED, TEXT_METRICS, text_scores

__all__ = [
    "LOWER_IS_BETTER",
    "METRICS",
    "OF_HUNDRED",
    "TEXT_METRICS",
    "Bin",
    "ClassReport",
    "Confusion",
    "LabelConfusion",
    "Report",
    "answer_f1",
    "classification_scores",
    "confusion_of_labels",
    "confusion_of_sets",
    "confusion_of_spans",
    "entity_scores",
    "expected_calibration_error",
    "format_report",
    "load_metric",
    "multilabel_scores",
    "normalize_answer",
    "question_scores",
    "regression_scores",
    "relation_scores",
    "reliability",
    "text_scores",
]
