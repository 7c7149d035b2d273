"""Thresholds of labels: found on validation data, fixed where they are given, and said where no label reaches one."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.metrics import f1_score

import lightadapt as la
from lightadapt.tasks.decoding.thresholds import FittedThresholds, best_threshold, find_thresholds

LABELS = ["late", "broken", "rare"]


def records(count=40):
    """Half of the records are late, a third broken, and the last of all is rare."""
    return [
        {
            "text": f"parcel {'late' if n % 2 else 'here'} {'broken' if n % 3 == 0 else 'whole'}",
            "labels": [*["late"] * (n % 2), *["broken"] * (n % 3 == 0), *["rare"] * (n == count - 1)],
        }
        for n in range(count)
    ]


def test_the_best_threshold_is_the_best_of_all():
    random = np.random.default_rng(0)
    for _ in range(40):
        held = random.random(30) < random.uniform(0.05, 0.9)
        held[0] = True
        probabilities = np.clip(np.round(random.random(30), random.integers(1, 4)), 0.05, 1)
        found = best_threshold(held, probabilities)
        reached = f1_score(held, probabilities >= found)
        every = [f1_score(held, probabilities >= each, zero_division=0) for each in [*probabilities, 0.5]]
        assert reached == pytest.approx(max(every))
        assert 0 < found < 1


@pytest.mark.parametrize(
    ("held", "probabilities", "expected"),
    [
        ([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1], 0.5),  # of equally good ones the nearest to 0.5
        ([1, 1, 0, 0], [0.3, 0.2, 0.1, 0.0], 0.15),
        ([1, 0], [0.2, 0.2], 0.1),
        ([1, 1], [1.0, 1.0], 0.5),
    ],
)
def test_which_threshold_is_taken(held, probabilities, expected):
    assert best_threshold(np.array(held, bool), np.array(probabilities)) == pytest.approx(expected)


def test_labels_of_few_records_share_a_threshold():
    held = np.zeros((40, 2), bool)
    held[:20, 0], held[:3, 1] = True, True
    probabilities = np.where(held, 0.3, 0.1)
    alike = find_thresholds(held, probabilities, ["many", "few"], each=False)
    assert (alike.shared, alike.by_label) == (pytest.approx(0.2), {})
    own = find_thresholds(held, probabilities, ["many", "few"], each=True)
    assert own.by_label.keys() == {"many"}
    assert find_thresholds(held & False, probabilities, ["a", "b"], each=True) == FittedThresholds()


@pytest.mark.parametrize("threshold", [None, "auto", "per-label"])
def test_fit_finds_it_on_validation_data_and_the_artifact_keeps_it(tiny, tmp_path, threshold):
    model = la.adapt(tiny("bert"), la.MultiLabel(LABELS, threshold=threshold))
    model.fit(records(), epochs=1)
    assert model.task.fitted == FittedThresholds()
    assert model.task.threshold_of("late") == 0.5
    history = model.fit(records(), records(), epochs=1)
    fitted = model.task.fitted
    assert fitted.shared is not None
    assert set(fitted.by_label) == ({"late", "broken"} if threshold == "per-label" else set())
    scores = model.evaluate(records())
    assert scores["micro_f1"] == pytest.approx(history.best_scores["micro_f1"], abs=1e-6)
    assert scores["micro_f1"] >= model.evaluate(records(), threshold=0.5)["micro_f1"] or threshold == "per-label"
    model.save(tmp_path / "saved")
    again = la.load(tmp_path / "saved")
    assert again.task == model.task
    texts = [record["text"] for record in records()]
    assert again.predict(texts) == model.predict(texts)


def test_a_number_is_kept(tiny):
    model = la.adapt(tiny("bert"), la.MultiLabel(LABELS, threshold=0.5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(records(), records(), epochs=1)
    assert model.task.fitted == FittedThresholds()
    assert model.task.threshold_of("late") == 0.5


def test_a_threshold_for_one_call(tiny):
    model = la.adapt(tiny("bert"), la.MultiLabel(LABELS))
    texts = ["parcel late", "parcel here"]
    assert model.predict(texts, threshold=1e-6) == [LABELS, LABELS]
    assert model.predict(texts, threshold=1 - 1e-6) == [[], []]
    assert list(model.predict_stream(texts, threshold=1e-6)) == [LABELS, LABELS]
    assert model.predict(texts, threshold=1e-6, adapter=["default", "default"]) == [LABELS, LABELS]
    assert model.evaluate(records(), threshold=1e-6)["micro_f1"] > 0
    assert model.task.threshold is None


@pytest.mark.parametrize("threshold", [0, 1, 1.5, "0.5", "auto", [0.5]])
def test_what_is_no_threshold(tiny, threshold):
    with pytest.raises(la.LightAdaptError, match="Give a number between 0 and 1"):
        la.adapt(tiny("bert"), la.MultiLabel(LABELS)).predict(["a"], threshold=threshold)
    if threshold != "auto":
        with pytest.raises(la.LightAdaptError, match="or 'auto' or 'per-label' to have it found"):
            la.MultiLabel(threshold=threshold)


def test_other_tasks_have_none(classifier, messages):
    for call in (
        lambda: classifier().predict(["a"], threshold=0.4),
        lambda: classifier().evaluate(messages, threshold=0.4),
    ):
        with pytest.raises(la.LightAdaptError, match=r"threshold=0\.4 is for task 'multilabel', not 'class"):
            call()


def test_labels_that_are_never_predicted_are_named(tiny):
    model = la.adapt(tiny("bert"), la.MultiLabel(LABELS))
    with pytest.warns(
        UserWarning, match="2 of 3 labels are never predicted, though 5 records or more have them: late, br"
    ):
        model.evaluate(records(), threshold=1 - 1e-6)
    strict = la.adapt(tiny("bert"), la.MultiLabel(LABELS, threshold=1 - 1e-6))
    with pytest.warns(UserWarning, match="On the validation data 2 of 3 labels are never predicted"):
        strict.fit(records(), records(), epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.evaluate(records(), threshold=1e-6)


@pytest.mark.parametrize("threshold", ["auto", "per-label"])
def test_a_call_takes_no_threshold_that_is_to_be_found(tiny, threshold):
    model = la.adapt(tiny("bert"), la.MultiLabel(LABELS))
    with pytest.raises(la.LightAdaptError, match=r"found by fit, for la\.MultiLabel\(threshold=…\)"):
        model.predict(["it is late"], threshold=threshold)
