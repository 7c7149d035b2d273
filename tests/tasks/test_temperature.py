"""Probabilities of another temperature: right as often as they say, and the same answers."""

from __future__ import annotations

import numpy as np
import pytest

import lightadapt as la
from lightadapt.data.spans import Span
from lightadapt.tasks import task_of_json
from lightadapt.tasks.decoding.entities import Entity
from lightadapt.tasks.decoding.temperature import find_power, find_temperature, temper, temper_each

CHANCE = np.random.default_rng(0)
TASKS = {
    "classification": la.Classification(labels=["a", "b", "c"]),
    "relation": la.Relation(labels=["a", "b", "c"]),
    "multilabel": la.MultiLabel(labels=["a", "b", "c"], threshold=0.3),
    "multiple-choice": la.MultipleChoice(),
    "ner": la.NER(labels=["P"]),
}


def predictions_of(name, count=50):
    rows = [row / row.sum() for row in CHANCE.random((count, 3))]
    if name == "multiple-choice":
        return rows
    if name == "ner":
        return [[Entity(Span(0, 2, "P"), float(row[0]))] for row in rows]
    return [dict(zip("abc", row.tolist(), strict=True)) for row in rows]


def softmax(logits):
    shares = np.exp(logits)
    return shares / shares.sum(-1, keepdims=True)


def test_a_temperature_divides_logits():
    logits = CHANCE.normal(size=(5, 4))
    assert temper(softmax(logits), 2.5) == pytest.approx(softmax(logits / 2.5))
    assert temper_each(1 / (1 + np.exp(-logits)), 0.4) == pytest.approx(1 / (1 + np.exp(-logits / 0.4)))


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_that_logits_were_multiplied_by_is_found(temperature):
    true = softmax(2 * CHANCE.normal(size=(20_000, 5)))
    right = [int(CHANCE.choice(5, p=row)) for row in true]
    shown = temper(true, 1 / temperature)
    assert find_temperature(list(shown), right) == pytest.approx(temperature, rel=0.05)


def test_the_power_of_scores_is_found():
    true = CHANCE.random(20_000)
    assert find_power((true**0.5).tolist(), (CHANCE.random(20_000) < true).tolist()) == pytest.approx(2.0, rel=0.05)


def test_all_right_does_not_make_everything_certain():
    shown = [np.array([0.8, 0.1, 0.1])] * 20
    sure = temper(shown[0], find_temperature(shown, [0] * 20))[0]
    assert 0.9 < sure < 0.99
    assert find_power([0.8] * 20, [True] * 20) > 0.05


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("temperature", [0.3, 4.0])
def test_answers_stay_as_they_are(name, temperature):
    task, predictions = TASKS[name], predictions_of(name)
    warmer = task.with_temperature(temperature)
    changed = warmer.calibrated(predictions)
    answers = [task.present(None, each, scores=False) for each in predictions] if name != "ner" else predictions
    after = [warmer.present(None, each, scores=False) for each in changed] if name != "ner" else changed
    if name == "ner":
        assert [[each.span for each in row] for row in after] == [[each.span for each in row] for row in answers]
        assert after != answers
    else:
        assert after == answers
    back = warmer.tempered(changed, 1 / temperature)
    assert flat(back) == pytest.approx(flat(predictions))
    assert flat(changed) != pytest.approx(flat(predictions))


def flat(predictions):
    return [
        value
        for each in predictions
        for value in (
            each.values() if isinstance(each, dict) else [one.score for one in each] if isinstance(each, list) else each
        )
    ]


def test_a_threshold_of_a_call_is_one_of_what_is_shown():
    task = la.MultiLabel(labels=["a"]).with_temperature(3.0)
    shown = task.calibrated([{"a": 0.9}])[0]
    assert shown["a"] < 0.7
    assert task.with_threshold(0.6).present(None, shown, scores=False) == ["a"]
    assert task.with_threshold(0.8).present(None, shown, scores=False) == []
    assert task.with_threshold(0.6).threshold_of("a") == pytest.approx(0.6)
    assert task.with_threshold(1e-9).threshold_of("a") < 1e-6


def test_a_temperature_is_kept_as_json_and_only_where_there_is_one():
    task = TASKS["classification"]
    assert task.as_json()["fitted"] == {}
    saved = task.with_temperature(1.7).as_json()
    assert saved["fitted"] == {"temperature": 1.7}
    assert task_of_json(saved, ["a", "b", "c"]) == task.with_temperature(1.7)
    for wrong in (0, -1.0, "warm"):
        with pytest.raises(la.LightAdaptError, match="temperature="):
            task_of_json({**saved, "fitted": {"temperature": wrong}}, ["a", "b", "c"])


@pytest.mark.parametrize("name", TASKS)
def test_learning_again_forgets_it(name):
    assert TASKS[name].with_temperature(2.0).prepare([], fresh_head=False).fitted.temperature is None
