"""Scores of labels, entities, numbers and relations are the library's own, or the official scorer's."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from lightadapt import LightAdaptError
from lightadapt.data.spans import Span
from lightadapt.metrics import (
    classification_scores,
    entity_scores,
    format_report,
    multilabel_scores,
    regression_scores,
    relation_scores,
)

SOME = settings(deadline=None, max_examples=60)


def sides(items, least=1):
    """The true and the predicted values of some records."""
    pairs = st.lists(st.tuples(items, items), min_size=least, max_size=8)
    return pairs.map(lambda rows: ([gold for gold, _ in rows], [predicted for _, predicted in rows]))


def test_import_is_light():
    heavy = "{'torch', 'datasets', 'sklearn', 'seqeval', 'scipy', 'sacrebleu', 'rouge_score', 'nltk', 'evaluate'}"
    script = f"import lightadapt.metrics, sys\nprint(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Labels


@given(sides(st.sampled_from(["a", "b", "c", 0, 1])))
@SOME
def test_classification_is_scikit_learns(case):
    gold, predicted = case
    scores, report = classification_scores(gold, predicted)
    texts = [list(map(str, side)) for side in case]
    assert list(scores) == ["accuracy", "macro_f1"]
    assert scores["accuracy"] == pytest.approx(accuracy_score(*texts))
    assert scores["macro_f1"] == pytest.approx(f1_score(*texts, average="macro", zero_division=0))
    assert report.keys() == {*texts[0], *texts[1]}


def test_a_class_only_predicted_lowers_macro_f1_and_is_in_the_report():
    scores, report = classification_scores(["a", "a"], ["a", "b"])
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert report["b"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}


def test_a_class_may_be_named_like_an_average():
    _, report = classification_scores(["moving avg", "none"], ["moving avg", "none"])
    assert report["moving avg"]["f1"] == 1
    assert "moving avg" in format_report(report)


# Any number of labels


@given(sides(st.sets(st.sampled_from("abcd"))), st.permutations("abcd"))
@SOME
def test_multilabel_is_scikit_learns(case, labels):
    scores, report = multilabel_scores(*case, labels)
    tables = [np.array([[label in record for label in labels] for record in side], dtype=int) for side in case]
    assert list(scores) == ["micro_f1", "macro_f1"]
    for average in ("micro", "macro"):
        assert scores[f"{average}_f1"] == pytest.approx(f1_score(*tables, average=average, zero_division=0))
    assert [row["f1"] for row in report.values()] == pytest.approx(f1_score(*tables, average=None, zero_division=0))
    assert list(report) == list(labels)
    assert [row["support"] for row in report.values()] == tables[0].sum(0).tolist()


@given(sides(st.booleans()))
@SOME
def test_a_single_label_is_scored_as_present_or_not(case):
    scores, report = multilabel_scores(*[[["x"] if there else [] for there in side] for side in case], ["x"])
    expected = pytest.approx(f1_score(*case, zero_division=0))
    assert scores["micro_f1"] == scores["macro_f1"] == report["x"]["f1"] == expected


def test_macro_f1_of_labels_counts_those_that_never_occur():
    scores, report = multilabel_scores([["a"]], [["a"]], ["a", "b"])
    assert scores == {"micro_f1": 1.0, "macro_f1": 0.5}
    assert report["b"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}


def test_a_label_named_twice_in_a_record_counts_once():
    assert multilabel_scores([["a", "a"]], [["a"]], ["a"])[1]["a"]["support"] == 1


def test_no_label_anywhere_scores_zero():
    assert multilabel_scores([[], []], [[], []], ["a", 1])[0] == {"micro_f1": 0, "macro_f1": 0}
    assert multilabel_scores([], [], ["a", 1])[0] == {"micro_f1": 0, "macro_f1": 0}


def test_an_unknown_label_is_refused_with_the_nearest():
    with pytest.raises(LightAdaptError, match=r"Record 1: 'bilings' is not among the labels\. Did you mean 'billing'"):
        multilabel_scores([["billing"], []], [[], ["bilings"]], ["billing", "delivery"])


# Entities


def test_a_duplicate_span_counts_once():
    span = Span(0, 4, "PER")
    assert entity_scores([[span]], [[span, span]]) == entity_scores([[span]], [[span]])


@pytest.mark.parametrize(
    ("gold", "predicted", "expected"),
    [
        ([], [], (0, 0, 0)),
        ([Span(0, 2, "PER")], [], (0, 0, 0)),
        ([], [Span(0, 2, "PER")], (0, 0, 0)),
        ([Span(0, 2, "PER")], [Span(0, 1, "PER")], (0, 0, 0)),
        ([Span(0, 2, "PER")], [Span(0, 2, "LOC")], (0, 0, 0)),
        ([Span(0, 2, "PER")], [Span(0, 2, "PER"), Span(2, 3, "PER")], (2 / 3, 1 / 2, 1)),
    ],
)
def test_entities_count_only_when_whole(gold, predicted, expected):
    scores, _ = entity_scores([gold], [predicted])
    assert tuple(scores[name] for name in ("f1", "precision", "recall")) == pytest.approx(expected)


# Numbers


@given(sides(st.floats(-100, 100).map(lambda value: round(value, 2)), least=2))
@SOME
def test_regression_is_scipys(case):
    gold, predicted = case
    scores = regression_scores(gold, predicted)
    assert list(scores) == ["pearson", "spearman", "rmse"]
    assert scores["rmse"] == pytest.approx(np.sqrt(np.mean(np.subtract(gold, predicted) ** 2)))
    if len(set(gold)) > 1 and len(set(predicted)) > 1:
        assert scores["pearson"] == pytest.approx(scipy.stats.pearsonr(gold, predicted).statistic)
        assert scores["spearman"] == pytest.approx(scipy.stats.spearmanr(gold, predicted).statistic)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("gold", "predicted", "rmse"),
    [
        ([], [], 0),
        ([1.0], [3.0], 2),
        ([1, 2, 3], [2, 2, 2], math.sqrt(2 / 3)),
        ([2, 2], [1, 3], 1),
        ([0.1, 0.1], [0.1, 0.1], 0),
        ([1, 2], [math.nan, 2], math.inf),
        ([1, 2], [math.inf, 2], math.inf),
    ],
)
def test_a_correlation_that_is_not_defined_is_zero(gold, predicted, rmse):
    assert regression_scores(gold, predicted) == {"pearson": 0, "spearman": 0, "rmse": pytest.approx(rmse)}


@pytest.mark.filterwarnings("error")
def test_nearly_constant_and_huge_numbers_warn_of_nothing():
    assert regression_scores([1, 2, 3], [1, 1 + 1e-15, 1 + 2e-15])["spearman"] == pytest.approx(1)
    assert regression_scores([1e200, 2e200], [2e200, 4e200])["pearson"] == pytest.approx(1)


# Relations

CAUSE, EFFECT = "Cause-Effect(e1,e2)", "Cause-Effect(e2,e1)"


def test_relations_by_the_rule_of_semeval_2010_task_8():
    gold = [CAUSE, CAUSE, EFFECT, "Entity-Origin(e1,e2)", "Other", "Other"]
    predicted = [CAUSE, EFFECT, EFFECT, "Other", CAUSE, "Other"]
    scores, report = relation_scores(gold, predicted, ["Other"])
    # Cause-Effect: 2 right of 4 predicted and of 3 true; Entity-Origin: none right of 0 and of 1.
    assert report["Cause-Effect"] == pytest.approx({"precision": 1 / 2, "recall": 2 / 3, "f1": 4 / 7, "support": 3})
    assert report["Entity-Origin"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}
    assert list(scores) == ["macro_f1", "accuracy"]
    assert scores == pytest.approx({"macro_f1": (4 / 7 + 0) / 2, "accuracy": 3 / 6})


def test_the_wrong_direction_is_wrong_and_still_predicted():
    scores, report = relation_scores([CAUSE, CAUSE], [CAUSE, EFFECT], [])
    assert report == {"Cause-Effect": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}}
    assert scores == {"macro_f1": 0.5, "accuracy": 0.5}


def test_a_relation_only_predicted_is_in_the_report_but_not_in_the_mean():
    scores, report = relation_scores(["a", "a"], ["a", "b"], [])
    assert scores["macro_f1"] == pytest.approx(2 / 3)
    assert report["b"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}


@given(sides(st.sampled_from(["a", "b(c)", "no_relation", "d"])))
@SOME
def test_relations_without_direction_get_plain_macro_f1(case):
    wanted = sorted({*case[0]} - {"no_relation"})
    expected = f1_score(*case, labels=wanted, average="macro", zero_division=0) if wanted else 0.0
    scores, _ = relation_scores(*case, without={"no_relation"})
    assert scores["macro_f1"] == pytest.approx(expected)
    assert scores["accuracy"] == pytest.approx(accuracy_score(*case))


def test_no_relation_at_all_scores_zero():
    assert relation_scores(["Other"], [CAUSE], ["Other"])[0] == {"macro_f1": 0, "accuracy": 0}
    assert relation_scores([], [], ["Other"])[0] == {"macro_f1": 0, "accuracy": 0}


def test_without_is_a_collection_of_labels():
    with pytest.raises(LightAdaptError, match=r"Give a list of labels: \['Other'\]"):
        relation_scores(["Other"], ["Other"], "Other")
