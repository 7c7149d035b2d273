"""What a task learns from data stands beside its settings, and goes wherever the task goes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import lightadapt as la
from lightadapt.tasks import task_of_json
from lightadapt.tasks.encoding.learned_chats import FittedChats
from lightadapt.tasks.ner import FittedWords
from lightadapt.tasks.qa import FittedThreshold
from lightadapt.tasks.regression import FittedScale

LEARNED = [
    la.QA(window=64, fitted=FittedThreshold(0.5)),
    la.Regression(overflow="windows", fitted=FittedScale((3.0, 1.5))),
    la.Dialogue(fitted=FittedChats(chats=True, system="be kind", settings={"quiet": True})),
    la.NER(["PER"], fitted=FittedWords(split=True)),
]


@pytest.mark.parametrize("task", LEARNED, ids=lambda task: task.name)
def test_it_is_kept_by_copies_and_by_json_and_is_no_setting(task):
    assert not [name for name in task.settings() if "fitted" in name or "found" in name]
    assert replace(task, columns={"text": "other"}).fitted == task.fitted
    saved = json.loads(json.dumps(task.as_json()))
    assert task_of_json(saved, getattr(task, "labels", None)) == task
    assert repr(task.fitted) in repr(task)
    assert task != replace(task, fitted=type(task.fitted)())


def test_it_does_not_clutter_tasks_that_learn_nothing():
    assert "fitted" not in repr(la.Classification(["a", "b"]))
    assert la.Classification(["a", "b"]).as_json()["fitted"] == {}


@pytest.mark.parametrize("task", LEARNED[:2], ids=lambda task: task.name)
def test_version_0_1_kept_it_among_the_settings(task):
    now = json.loads(json.dumps(task.as_json()))
    old = {f"found_{name}": value for name, value in now.pop("fitted").items()}
    assert task_of_json({**now, "settings": {**now["settings"], **old}}) == task
    none = {**now, "settings": {**now["settings"], **dict.fromkeys(old)}}
    assert task_of_json(none) == replace(task, fitted=type(task.fitted)())


def test_what_another_version_has_learned_is_refused():
    with pytest.raises(la.LightAdaptError, match="does not know what it has learned"):
        task_of_json({**la.QA().as_json(), "fitted": {"mood": 1}})


def test_regression_learns_the_scale_once():
    task = la.Regression()
    examples = task.parse(task.read([{"text": "a", "label": 2}, {"text": "b", "label": 4}]))
    learned = task.prepare(examples, fresh_head=True)
    assert learned.fitted == FittedScale((3.0, 1.0))
    assert learned.output_scale == (3.0, 1.0)
    assert learned.prepare(examples[:1], fresh_head=True) is learned
    assert task.prepare(examples, fresh_head=False).output_scale is None
