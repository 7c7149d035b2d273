"""Scores, computed by well-kept libraries on what the tasks decoded."""

from lightadapt.metrics.by_name import LOWER_IS_BETTER, METRICS, load_metric
from lightadapt.metrics.calibration import Bin, expected_calibration_error, reliability
from lightadapt.metrics.classification import classification_scores, classification_tally
from lightadapt.metrics.confusion import (
    Confusion,
    LabelConfusion,
    confusion_of_labels,
    confusion_of_sets,
    confusion_of_spans,
)
from lightadapt.metrics.entities import entity_scores, entity_tally
from lightadapt.metrics.multilabel import multilabel_scores, multilabel_tally
from lightadapt.metrics.questions import answer_f1, normalize_answer, question_scores, question_tally
from lightadapt.metrics.regression import NumberTally, regression_scores
from lightadapt.metrics.relations import relation_scores, relation_tally
from lightadapt.metrics.report import ClassReport, Report, format_report
from lightadapt.metrics.tally import Counted, Rescored, Tally, Together
from lightadapt.metrics.texts import OF_HUNDRED, TEXT_METRICS, text_scores, text_tally

__all__ = [
    "LOWER_IS_BETTER",
    "METRICS",
    "OF_HUNDRED",
    "TEXT_METRICS",
    "Bin",
    "ClassReport",
    "Confusion",
    "Counted",
    "LabelConfusion",
    "NumberTally",
    "Report",
    "Rescored",
    "Tally",
    "Together",
    "answer_f1",
    "classification_scores",
    "classification_tally",
    "confusion_of_labels",
    "confusion_of_sets",
    "confusion_of_spans",
    "entity_scores",
    "entity_tally",
    "expected_calibration_error",
    "format_report",
    "load_metric",
    "multilabel_scores",
    "multilabel_tally",
    "normalize_answer",
    "question_scores",
    "question_tally",
    "regression_scores",
    "relation_scores",
    "relation_tally",
    "reliability",
    "text_scores",
    "text_tally",
]
