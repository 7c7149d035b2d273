"""What is said of two models on the same records."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test
from scored import classified

import lightadapt as la
from lightadapt.evaluation.scores import Evidence, Scores


def regressed(errors):
    task = la.Regression()
    read = task.read([{"text": str(number), "label": number % 7} for number in range(len(errors))])
    examples = task.parse(read)
    predictions = [example.label + error for example, error in zip(examples, errors, strict=True)]
    return Scores(*task.score(examples, predictions), Evidence(task, read, examples, predictions))


def test_a_plain_difference_is_a_plain_sentence():
    chance = np.random.default_rng(0)
    a = classified((chance.random(1_000) < 0.7).tolist())
    b = classified((chance.random(1_000) < 0.8).tolist())
    found = la.compare_models(a, b)
    assert (found.metric, found.n, found.better, found.test) == ("accuracy", 1_000, "b", "exact McNemar")
    assert found.difference == pytest.approx(b["accuracy"] - a["accuracy"])
    assert found.low < found.difference < found.high
    half = 50 * (found.high - found.low)
    assert str(found).startswith(
        f"b is better by {100 * found.difference:.1f} ± {half:.1f} points (accuracy, 1,000 rec"
    )
    turned = la.compare_models(b, a)
    assert (turned.better, turned.p) == ("a", found.p)
    assert (turned.difference, turned.low) == pytest.approx((-found.difference, -found.high), abs=0.003)


def test_mcnemar_counts_what_one_alone_gets_right():
    right = [True] * 30 + [False] * 30
    a, b = classified([*right, *[True] * 2, *[False] * 10]), classified([*right, *[False] * 2, *[True] * 10])
    found = la.compare_models(a, b)
    assert found.p == pytest.approx(binomtest(2, 12).pvalue)
    assert found.better == "b"


def test_the_permutation_test_is_scipys():
    chance = np.random.default_rng(1)
    a, b = regressed(chance.normal(size=60)), regressed(0.8 * chance.normal(size=60))
    found = la.compare_models(a, b, metric="rmse")
    errors = [np.array(each.evidence.predictions) - [one.label for one in each.evidence.examples] for each in (a, b)]
    expected = permutation_test(
        errors,
        lambda one, other: np.sqrt((other**2).mean()) - np.sqrt((one**2).mean()),
        permutation_type="samples",
        n_resamples=9_999,
        rng=np.random.default_rng(2),
    )
    assert found.p == pytest.approx(expected.pvalue, abs=0.02)
    assert found.difference == pytest.approx(expected.statistic)


def test_of_an_error_the_smaller_is_better():
    found = la.compare_models(regressed([1.0, -1.0] * 50), regressed([0.1, -0.1] * 50), metric="rmse")
    assert found.better == "b"
    assert found.difference == pytest.approx(-0.9)
    assert str(found).startswith("b is better by 0.9 ± 0.0 (rmse")


def test_chance_is_called_better_as_seldom_as_it_should_be():
    """Two models that are equally good differ by chance alone, which p < 0.05 takes for a difference in 1 of 20."""
    chance = np.random.default_rng(5)
    told = 0
    for _ in range(60):
        a, b = (classified((chance.random(60) < 0.7).tolist()) for _ in "ab")
        told += la.compare_models(a, b, metric="macro_f1").better is not None
    assert told <= 8


def test_no_difference_can_be_told():
    a = classified([True] * 50 + [False] * 50)
    b = classified([True] * 48 + [False] * 49 + [True] * 3)
    found = la.compare_models(a, b)
    assert found.better is None
    assert str(found).startswith("No difference can be told: b less a is 1.0 points, and may be from -")
    same = la.compare_models(a, a)
    assert (same.difference, same.p, same.low, same.high) == (0, 1, 0, 0)


def test_where_documents_are_the_unit_they_change_sides_whole():
    """Twelve documents, of which one model has all records of eight, are little; 120 records would be much."""
    documents = [number // 10 for number in range(120)]
    for_b = [document < 8 for document in documents]
    a, b = classified([not each for each in for_b], doc_id=documents), classified(for_b, doc_id=documents)
    found = la.compare_models(a, b)
    assert found.test == "paired permutation"
    assert found.better is None
    assert found.p == pytest.approx(binomtest(4, 12).pvalue, abs=0.02)
    assert la.compare_models(classified([not each for each in for_b]), classified(for_b)).p < 0.001


def test_thresholds_of_their_own_count():
    """Two models that give the same probabilities and go by other thresholds give other labels."""
    records = [{"text": str(number), "labels": ["a"]} for number in range(40)]

    def scores(threshold):
        task = la.MultiLabel(labels=["a", "b"], threshold=threshold)
        read = task.read(records)
        examples, predictions = task.parse(read), [{"a": 0.4, "b": 0.1}] * 40
        return Scores(*task.score(examples, predictions), Evidence(task, read, examples, predictions))

    assert la.compare_models(scores(0.5), scores(0.3)).difference == 1


def test_other_data_tasks_and_labels_are_refused(classifier, messages, monkeypatch):
    a = classified([True] * 30)
    with pytest.raises(la.LightAdaptError, match="a was evaluated on 30 records and b on 20"):
        la.compare_models(a, classified([True] * 20))
    with pytest.raises(la.LightAdaptError, match=r"record 0 of a.*is not that of b"):
        la.compare_models(regressed([0.0] * 20), regressed_other())
    with pytest.raises(la.LightAdaptError, match="a does task 'classification' and b 'regression'"):
        la.compare_models(a, regressed([0.0] * 30))
    with pytest.raises(la.LightAdaptError, match=r"metric='acuracy' is unknown\. Did you mean 'accuracy'"):
        la.compare_models(a, a, metric="acuracy")
    with pytest.raises(la.LightAdaptError, match="1 record, and how much"):
        la.compare_models(classified([True]), classified([False]))
    one = classifier(labels=["x", "y"])
    monkeypatch.setattr(type(one), "evaluate", lambda *_, **__: pytest.fail("evaluated before the refusal"))
    with pytest.raises(la.LightAdaptError, match="the labels differ: a alone has x, y; b alone has"):
        la.compare_models(one, classifier(), messages)
    with pytest.raises(la.LightAdaptError, match="give the labelled records"):
        la.compare_models(one, one)
    with pytest.raises(la.LightAdaptError, match="a is 'model'"):
        la.compare_models("model", one, messages)
    with pytest.raises(la.LightAdaptError, match=r"confidence=95.*95 % is 0\.95"):
        la.compare_models(one, one, messages, confidence=95)


def regressed_other():
    task = la.Regression()
    read = task.read([{"text": f"other {number}", "label": number} for number in range(20)])
    examples = task.parse(read)
    return Scores({"pearson": 1.0}, {}, Evidence(task, read, examples, [example.label for example in examples]))


@pytest.mark.filterwarnings("ignore:The head has learned nothing")
def test_models_are_evaluated_on_the_data(classifier, messages):
    a, b = classifier(), classifier(seed=1)
    found = la.compare_models(a, b, messages)
    assert found.difference == pytest.approx(b.evaluate(messages)["accuracy"] - a.evaluate(messages)["accuracy"])
    assert la.compare_models(a.evaluate(messages), b, messages).p == found.p
