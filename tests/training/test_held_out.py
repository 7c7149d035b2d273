"""`validation=0.1`: a share of the training data is held out, with its share of each class, the same one each time."""

from __future__ import annotations

import pytest

import lightadapt as la
from lightadapt.data import Records
from lightadapt.tasks import NER, Classification, MultiLabel, Regression

QUIET = {"disable_tqdm": True}


def texts(count: int) -> list[dict]:
    return [{"text": f"where is parcel {number}", "label": "ab"[number % 4 == 0]} for number in range(count)]


def fitted(tiny, records, share=0.25, **options):
    model = la.adapt(tiny("bert"), "classification", seed=options.pop("seed", 0))
    return model, model.fit(records, share, args=QUIET, epochs=1, **options)


def test_a_share_is_held_out_and_scored_on(tiny):
    model, history = fitted(tiny, texts(40))
    assert len(history.held_out) == 10
    assert sorted(set(history.held_out)) == history.held_out
    assert [number % 4 == 0 for number in history.held_out].count(True) in (2, 3)
    assert history.settings["validation"] == 0.25
    assert model.runner.last_run.settings["records"] == 30
    assert history.best_scores["accuracy"] >= 0
    rows = texts(40)
    apart = la.adapt(tiny("bert"), "classification", labels=["a", "b"], seed=0)
    scored = [rows[number] for number in history.held_out]
    learned = [row for number, row in enumerate(rows) if number not in history.held_out]
    again = apart.fit(learned, scored, args=QUIET, epochs=1)
    assert again.losses == history.losses
    assert again.best_scores == history.best_scores
    assert again.held_out == []
    assert "validation" not in again.settings


def test_the_choice_goes_by_the_seed_alone(tiny):
    records = texts(40)
    one, same, other = (fitted(tiny, records, seed=seed)[1].held_out for seed in (0, 0, 1))
    assert one == same != other


def test_the_labels_are_those_of_both_parts(tiny):
    """A class of one record stays in what is learned, and one of two is known where it is held out."""
    model, history = fitted(tiny, [*texts(20), {"text": "once", "label": "rare"}])
    assert model.labels == ["a", "b", "rare"]
    assert 20 not in history.held_out


def test_bad_records_are_left_out_before_and_the_others_keep_their_numbers(tiny):
    records = [{"text": "", "label": "a"}, *texts(20)]
    with pytest.warns(UserWarning, match="1 of 21 records cannot be used"):
        _, history = fitted(tiny, records, on_error="skip")
    assert history.settings["skipped"] == {"train": 1, "validation": 0}
    assert len(history.held_out) == 5
    assert 0 not in history.held_out
    assert [number - 1 for number in history.held_out] == fitted(tiny, texts(20))[1].held_out


def test_a_resumed_run_holds_out_the_same_records(tiny, tmp_path):
    records = texts(24)
    _, whole = fitted(tiny, records, output_dir=tmp_path)
    model = la.adapt(tiny("bert"), "classification", seed=0)
    going_on = model.fit(records, 0.25, args=QUIET, epochs=2, output_dir=tmp_path, resume=True)
    assert going_on.held_out == whole.held_out
    other = la.adapt(tiny("bert"), "classification", seed=0)
    with pytest.raises(la.LightAdaptError, match="is of another run"):
        other.fit(records, 0.5, args=QUIET, epochs=3, output_dir=tmp_path, resume=True)


@pytest.mark.parametrize("share", [0, 1, 1.5, -0.1, True, float("nan"), 0.001])
def test_what_is_no_share_is_refused_before_anything_changes(tiny, share):
    model = la.adapt(tiny("bert"), "classification", seed=0)
    with pytest.raises(la.DataError, match=r"cannot be held out|leave one part empty"):
        model.fit(texts(20), share, args=QUIET)
    assert model.labels is None
    assert model.history is None


@pytest.mark.parametrize(
    ("task", "records", "classes"),
    [
        (Classification(), [{"text": "x", "label": "a"}], [("a",)]),
        (MultiLabel(), [{"text": "x", "labels": ["b", "a"]}, {"text": "y", "labels": []}], [("a", "b"), ()]),
        (NER(), [{"tokens": ["x", "y"], "tags": ["B-A", "O"]}, {"tokens": ["x"], "tags": ["O"]}], [("A",), ()]),
        (Regression(), [{"text": "x", "label": 10 - n} for n in range(10)], [(9 - n,) for n in range(10)]),
        (la.QA(), [{"question": "a", "context": "b", "answers": []}], [()]),
    ],
)
def test_classes_are_those_of_the_task(task, records, classes):
    assert [tuple(each) for each in task.classes_of(task.parse(Records(records)))] == classes
