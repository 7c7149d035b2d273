"""`on_error="skip"`: what is learned, scored and answered is that of the good records alone."""

from __future__ import annotations

import json
import tracemalloc
import warnings

import numpy as np
import pytest
from learned import near
from task_records import RECORDS
from transformers import TrainerCallback

import lightadapt as la
from lightadapt.data import lines

WRITES = ("generation", "summarization", "translation", "dialogue")
TASKS = [("llama" if name in WRITES else "bert", name) for name in RECORDS]
QUIET = {"disable_tqdm": True, "logging_steps": 1}
GOOD = [
    {"text": f"my order is {word}", "label": "ab"[number % 2]} for number, word in enumerate(["late", "lost", "odd"])
]


class StopsEarly(TrainerCallback):
    """Ends a run with its first epoch."""

    def on_epoch_end(self, args, state, control, **kwargs):
        control.should_training_stop = True


def skipping(call, *given, count: int, **options):
    """What a call gives that leaves out so many records, with one warning of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = call(*given, **options, on_error="skip")
        found = found if isinstance(found, (dict, list, la.History)) or found is None else list(found)
    said = [str(each.message) for each in caught if "cannot be used" in str(each.message)]
    assert len(said) == 1, said
    assert said[0].startswith(f"{count} of ")
    assert "Record " in said[0] or ", line " in said[0]
    return found


@pytest.mark.usefixtures("plain_processor")
@pytest.mark.parametrize(("name", "task"), TASKS)
def test_every_task_leaves_out_what_it_cannot_use(settled, name, task):
    adapted, _ = settled(name, task)
    good = RECORDS[task]
    options = {"max_new_tokens": 4} if task in WRITES else None
    mixed = [{}, *good[:1], 5, *good[1:], {"text": 7, "tokens": 7, "question": 7, "prompt": 7, "source": 7}]
    assert skipping(adapted.evaluate, mixed, count=3) == pytest.approx(adapted.evaluate(good))
    answers = adapted.predict(good, scores=True, options=options)
    expected = [None, answers[0], None, *answers[1:], None]
    found = skipping(adapted.predict, mixed, scores=True, options=options, count=3)
    assert [each is None for each in found] == [each is None for each in expected]
    assert near([each for each in found if each is not None], answers)
    found = skipping(adapted.predict_stream, mixed, scores=True, options=options, at_once=2, count=3)
    assert [each is None for each in found] == [each is None for each in expected]
    with pytest.raises(la.DataError):
        adapted.evaluate(mixed)


@pytest.mark.usefixtures("plain_processor")
def test_what_is_learned_is_that_of_the_good_records(tiny):
    mixed = [GOOD[0], {"text": "no label"}, *GOOD[1:], {"text": " ", "label": "c"}]
    losses = []
    for data in (GOOD, mixed):
        adapted = la.adapt(tiny("bert"), "classification", seed=1)
        if data is mixed:
            history = skipping(adapted.fit, data, data[:1], epochs=2, args=QUIET, count=2)
            assert history.settings["skipped"] == {"train": 2, "validation": 0}
        else:
            history = adapted.fit(data, data[:1], epochs=2, args=QUIET)
            assert "skipped" not in history.settings
        assert adapted.labels == ["a", "b"]
        losses.append(history.losses)
    assert losses[0] == losses[1]


def test_an_unknown_label_is_a_bad_record(classifier):
    adapted = classifier(labels=["a", "b"])
    history = skipping(adapted.fit, GOOD, [*GOOD, {"text": "hello", "label": "c"}], epochs=1, args=QUIET, count=1)
    assert history.settings["skipped"] == {"train": 0, "validation": 1}
    with pytest.warns(UserWarning, match=r"Record 3 \(validation data\): label 'c' is not among the labels"):
        adapted.fit(GOOD, [*GOOD, {"text": "hello", "label": "c"}], epochs=1, args=QUIET, on_error="skip")
    with pytest.warns(UserWarning, match="Record 3: label 'c' is not among the labels"):
        adapted.fit([*GOOD, {"text": "hello", "label": "c"}], epochs=1, args=QUIET, on_error="skip")
    assert adapted.labels == ["a", "b"]


def test_what_cannot_be_encoded_is_left_out_with_its_label(tiny):
    adapted = la.adapt(tiny("bert"), la.Classification(overflow="error"))
    long = {"text": "so " * 2 * adapted.runner.max_length, "label": "c"}
    history = skipping(adapted.fit, [long, *GOOD, long], epochs=1, args=QUIET, count=2)
    assert history.settings["skipped"]["train"] == 2
    assert adapted.labels == ["a", "b"]
    found = skipping(adapted.predict, [long["text"], "hello"], count=1)
    assert found[0] is None
    assert found[1] in ("a", "b")
    with pytest.warns(UserWarning, match="Record 1: the text has 134 tokens, but the model takes 66"):
        assert adapted.predict(["hello", long["text"]], on_error="skip")[1] is None


def test_labels_that_are_vectors_are_two_readings_for_all_records(tiny):
    records = [{"text": "a", "labels": [0, 1]}, {"text": "b", "labels": [1, 0]}]
    with pytest.raises(la.DataError, match="readings"):
        la.adapt(tiny("bert"), "multilabel").fit(records, on_error="skip")


def test_none_that_is_good_is_an_error_but_not_of_predict(classifier, write):
    adapted = classifier()
    for call in (adapted.fit, adapted.evaluate, adapted.preview, adapted.check):
        with pytest.raises(la.DataError, match=r"No record can be used, of 2 in all.*Record 0: text is empty"):
            call([{"text": " ", "label": "refund"}, {"text": "a", "label": 1.5}], on_error="skip")
    assert skipping(adapted.predict, ["", " "], count=2) == [None, None]
    assert skipping(adapted.predict_stream, ["", " "], at_once=1, count=2) == [None, None]
    path = write("x.jsonl", "{\n{\n")
    with pytest.raises(la.DataError, match=r"No record can be used, of 2 in all.*x\.jsonl, line 1 is not JSON"):
        adapted.fit(path, on_error="skip")
    assert adapted.predict([], on_error="skip") == []


@pytest.mark.parametrize("large", [False, True])
def test_files_have_an_answer_for_each_record(classifier, write, monkeypatch, large):
    if large:
        monkeypatch.setattr(lines, "LARGE", 0)
    adapted = classifier()
    first, second = adapted.predict(["hello", "where is it"])
    for content, expected in (
        (
            '{\n{"text": "hello"}\n\n{"text": 5}\n{\n{"text": "where is it"}\n{\n',
            [None, first, None, None, second, None],
        ),
        ("{\n{\n", [None, None]),
        ('{"text": "hello"}\n{\n{\n', [first, None, None]),
    ):
        path = write("x.jsonl", content)
        bad = expected.count(None)
        assert skipping(adapted.predict, path, count=bad) == expected
        for size in (1, 2, 10):
            assert skipping(adapted.predict_stream, path, at_once=size, count=bad) == expected
    path = write("x.jsonl", '{\n{"body": "hello"}\n\n{"body": 5}\n')
    with pytest.warns(UserWarning, match=r"Record 2 \(.*x\.jsonl, line 4\): text is 5"):
        assert adapted.predict(path, columns={"text": "body"}, on_error="skip") == [None, first, None]


def test_inputs_for_several_adaptations(tiny):
    adapted = la.adapt(tiny("bert"), "classification", labels=["a", "b"])
    adapted.add("other", labels=["c", "d"])
    found = skipping(
        adapted.predict, ["", "hello", "hello", " "], adapter=["default", "other", "default", "other"], count=2
    )
    assert [each is None for each in found] == [True, False, False, True]


def test_preview_and_check_look_at_the_good_records(classifier, capsys):
    adapted = classifier()
    records = [{"text": "", "label": "refund"}, {"text": "my parcel", "label": "refund"}, {"text": "a", "label": "zz"}]
    skipping(adapted.preview, records, count=2)
    said = capsys.readouterr().out
    assert "Record 1: " in said
    assert "Record 0" not in said
    assert len(skipping(adapted.check, [*records, records[1]], count=2)) == 4


def test_another_word_is_refused_at_once(classifier):
    adapted = classifier()
    for call in (
        adapted.fit,
        adapted.evaluate,
        adapted.preview,
        adapted.check,
        adapted.predict,
        adapted.predict_stream,
    ):
        for wrong in ("ignore", None, True):
            with pytest.raises(la.LightAdaptError, match=r"Give 'raise', .*, or 'skip'"):
                call("no such file.jsonl", on_error=wrong)


@pytest.mark.usefixtures("plain_processor")
def test_a_run_with_bad_records_is_resumed(tiny, tmp_path):
    mixed = [*GOOD, {"text": ""}, *GOOD]
    whole = la.adapt(tiny("bert"), "classification", labels=["a", "b"])
    skipping(whole.fit, mixed, epochs=2, args=QUIET, count=1)
    cut = la.adapt(tiny("bert"), "classification", labels=["a", "b"])
    skipping(cut.fit, mixed, epochs=2, output_dir=tmp_path / "run", args=QUIET, callbacks=StopsEarly(), count=1)
    saved = json.loads(next((tmp_path / "run").glob("*/lightadapt.json")).read_text())
    assert saved["training"]["records"] == 6
    assert saved["training"]["skipped"] == {"train": 1, "validation": 0}
    again = la.adapt(tiny("bert"), "classification", labels=["a", "b"])
    with pytest.raises(la.ArtifactError, match=r"is of another run: its number of (tokens|records)"):
        again.fit([*GOOD, GOOD[0]], output_dir=tmp_path / "run", resume=True, epochs=2, args=QUIET)
    skipping(again.fit, mixed, epochs=2, output_dir=tmp_path / "run", resume=True, args=QUIET, count=1)
    assert near(again.predict(["hello"], scores=True), whole.predict(["hello"], scores=True))


def test_a_stream_of_a_large_file_does_not_hold_it(classifier, monkeypatch, tmp_path):
    monkeypatch.setattr(lines, "LARGE", 0)
    adapted = classifier()
    infer = lambda model, features, view: [np.zeros(len(view.outputs))] * len(features)  # noqa: E731
    monkeypatch.setattr(la.Classification, "infer", lambda self, *how: infer(*how))
    text = "my order is late " * 60

    def peak(count: int) -> int:
        path = tmp_path / "x.jsonl"
        path.write_text("".join(f'{{"text": "{text}{number}"}}\n' for number in range(count)))
        tracemalloc.start()
        assert sum(1 for _ in adapted.predict_stream(path, at_once=50)) == count
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(50)
    assert (peak(4_000) - peak(1_000)) / 3_000 < 250  # bytes a record, which has more than 1,000
