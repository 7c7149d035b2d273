"""A temperature changes what probabilities say, and nothing else."""

from __future__ import annotations

import pytest
from learned import as_learned, stir, trainable
from task_records import RECORDS

import lightadapt as la
from lightadapt.adaptation.calibrating import Calibration

TASKS = ("classification", "multilabel", "relation", "ner", "multiple-choice")
GIVEN = ("text", "text_pair", "head", "tail", "question", "premise", "choices", "tokens")


@pytest.fixture(params=TASKS)
def case(request, tiny):
    """An adaptation that answers all sorts, with records and inputs."""
    records = RECORDS[request.param] * 6
    adapted = la.adapt(tiny("bert"), request.param)
    adapted.runner.settle(adapted.runner.prepare(records).task)
    stir(trainable(adapted.model).values(), size=0.5)
    inputs = [{name: each[name] for name in GIVEN if name in each} for each in records]
    return as_learned(adapted), records, inputs


def answers(adapted, inputs):
    """What is predicted, without probabilities."""
    found = adapted.predict(inputs)
    if adapted.task.name != "ner":
        return found
    return [[{name: each[name] for name in ("start", "end", "label")} for each in row] for row in found]


def test_answers_and_metrics_stay_and_the_artifact_keeps_it(case, tmp_path):
    adapted, records, inputs = case
    before, scores = answers(adapted, inputs), adapted.evaluate(records)
    found = adapted.calibrate(records)
    assert answers(adapted, inputs) == before
    after = adapted.evaluate(records)
    assert dict(after) == dict(scores)
    assert after.calibration_error == pytest.approx(found.after)
    assert after.uncalibrated_error == pytest.approx(scores.calibration_error) == pytest.approx(found.before)
    assert scores.uncalibrated_error is None
    assert f"calibration error {found.after:.3f}, {found.before:.3f} before" in str(after)
    assert f"{found.before:.3f} before, {found.after:.3f} after" in str(found)
    adapted.save(tmp_path / "saved")
    loaded = la.load(tmp_path / "saved")
    assert loaded.task.fitted.temperature == found.temperature
    assert loaded.predict(inputs, scores=True) == adapted.predict(inputs, scores=True)
    again = adapted.calibrate(records)
    assert again.temperature == pytest.approx(found.temperature, rel=1e-3)


def test_a_model_that_is_too_sure_gets_closer_to_the_truth(classifier, messages):
    """Its head is made ten times as sure as it learned to be."""
    adapted = classifier()
    adapted.fit(messages, epochs=3, head_learning_rate=5e-3)
    for module in adapted.runner.adaptation.head.modules:
        for parameter in module.parameters():
            parameter.data *= 10
    before = adapted.evaluate(messages)
    found = adapted.calibrate(messages)
    assert found.temperature > 1.5
    assert found.after < 0.6 * found.before
    assert adapted.evaluate(messages).calibration_error < 0.6 * before.calibration_error
    texts = [each["text"] for each in messages]
    for row in adapted.predict(texts, scores=True):
        assert sum(row.values()) == pytest.approx(1)
    adapted.fit(messages, epochs=1)
    assert adapted.task.fitted.temperature is None


def test_what_cannot_be_calibrated_is_refused(tiny, classifier, messages):
    with pytest.raises(la.LightAdaptError, match="task 'regression' have no probabilities"):
        la.adapt(tiny("bert"), "regression").calibrate(RECORDS["regression"])
    adapted = as_learned(classifier())
    with pytest.raises(la.DataError, match="9 records, and a temperature is found of 10"):
        adapted.calibrate(messages[:9])
    with adapted.disable(), pytest.raises(la.LightAdaptError, match="leave the block first"):
        adapted.calibrate(messages)
    with pytest.raises(la.LightAdaptError, match="not among the labels"):
        adapted.calibrate([{"text": "hello", "label": "greeting"}] * 10)
    assert adapted.task.fitted.temperature is None


def test_fit_calibrates_on_its_validation_data(tiny, tmp_path):
    records = RECORDS["classification"] * 6
    quiet = {"disable_tqdm": True}
    adapted = la.adapt(tiny("bert"), "classification")
    history = adapted.fit(records, records, epochs=2, calibrate=True, recipe="standard", args=quiet)
    found = history.settings["calibration"]
    assert found["temperature"] == adapted.task.fitted.temperature
    assert adapted.evaluate(records).calibration_error == pytest.approx(found["after"])
    adapted.save(tmp_path / "saved")
    assert la.load(tmp_path / "saved").task.fitted.temperature == found["temperature"]
    other = la.adapt(tiny("bert"), "classification")
    other.fit(records, records, epochs=2, recipe="standard", args=quiet)
    assert other.predict(["a text"]) == adapted.predict(["a text"])
    assert str(other.calibrate(records)) == str(Calibration(**found))


def test_fit_says_before_training_that_it_cannot_calibrate(tiny):
    records, texts = RECORDS["classification"] * 6, RECORDS["regression"] * 6
    classifier = la.adapt(tiny("bert"), "classification")
    with pytest.raises(la.LightAdaptError, match="and there is none"):
        classifier.fit(records, calibrate=True)
    with pytest.raises(la.DataError, match="2 records, and a temperature is found of 10 or more"):
        classifier.fit(records, records[:2], calibrate=True)
    with pytest.raises(la.LightAdaptError, match=r"fit\(calibrate=True\): the answers to task 'regression'"):
        la.adapt(tiny("bert"), "regression").fit(texts, texts, calibrate=True)
    assert classifier.runner.last_run.history is None
