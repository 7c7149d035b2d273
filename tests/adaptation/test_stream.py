"""Predictions come as documents are done: the same as all at once, in memory that does not grow with the input."""

from __future__ import annotations

import tracemalloc
from itertools import count, islice

import numpy as np
import pytest
import torch
from learned import near
from task_records import RECORDS

import lightadapt as la
from lightadapt.adaptation import prediction, reader
from lightadapt.adaptation.batches import whole_examples

WRITES = ("generation", "summarization", "translation", "dialogue")
TASKS = [("llama" if name in WRITES else "bert", name) for name in RECORDS]


def options_of(task):
    return {"max_new_tokens": 4} if task in WRITES else None


@pytest.mark.usefixtures("plain_processor")
@pytest.mark.parametrize(("name", "task"), TASKS)
def test_pieces_and_streams_answer_as_the_whole_does(settled, monkeypatch, name, task):
    adapted, _ = settled(name, task)
    inputs, options = RECORDS[task] * 4, options_of(task)
    whole = adapted.predict(inputs, scores=True, options=options)
    streamed = adapted.predict_stream(iter(inputs), scores=True, options=options, at_once=3)
    assert next(streamed) is not None  # before the others are asked for
    again = adapted.predict_stream(iter(inputs), scores=True, options=options, at_once=3)
    assert near(list(again), whole)
    monkeypatch.setattr(prediction, "PIECE_TOKENS", 40)
    monkeypatch.setattr(reader, "PIECE", 2)  # features in a file
    assert near(adapted.predict(inputs, scores=True, options=options), whole)
    scores = adapted.evaluate(inputs)
    monkeypatch.undo()
    assert scores == pytest.approx(adapted.evaluate(inputs), rel=1e-4)


def test_a_piece_ends_with_an_example_and_none_is_left_out():
    owners, lengths = [0, 0, 1, 3, 3, 3, 4, 5], [2**16] * 8
    cut = list(whole_examples(owners, lengths, 7, 2**17))
    assert cut == [
        (range(1), range(2)),
        (range(1, 4), range(2, 6)),
        (range(4, 7), range(6, 8)),
    ]
    assert list(whole_examples([1, 0], [2**18, 2**18], 2, 2**17)) == [(range(2), range(2))]  # in no order: together
    assert list(whole_examples([], [], 2, 9)) == [(range(2), range(0))]


@pytest.mark.usefixtures("plain_processor")
def test_a_stream_takes_no_more_than_it_answers(settled):
    adapted, _ = settled("bert", "classification")
    taken = []
    endless = (taken.append(number) or f"text {number}" for number in count())
    found = list(islice(adapted.predict_stream(endless, at_once=8), 20))
    assert len(found) == 20
    assert len(taken) == 24


@pytest.mark.usefixtures("plain_processor")
def test_memory_does_not_grow_with_the_documents(settled, monkeypatch):
    adapted, _ = settled("bert", "ner")
    monkeypatch.setattr(prediction, "PIECE_TOKENS", 2**11)
    outputs = len(adapted.runner.outputs)
    infer = lambda model, features, view: [np.zeros((len(each), outputs), np.float32) for each in features]  # noqa: E731
    monkeypatch.setattr(la.NER, "infer", lambda self, *how: infer(*how))

    def peak(documents):
        tracemalloc.start()
        assert sum(map(len, adapted.predict_stream((text for _ in range(documents)), at_once=40))) >= 0
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    text = "my order is late " * 12
    peak(40)
    assert peak(400) < 1.5 * peak(80)


@pytest.mark.usefixtures("plain_processor")
def test_errors_of_a_stream_name_the_input_among_all(settled, tmp_path):
    adapted, _ = settled("bert", "classification")
    found = adapted.predict_stream(["a", "b", "c", " "], at_once=2)
    assert len(list(islice(found, 2))) == 2
    with pytest.raises(la.DataError, match="Record 3: text is empty"):
        list(found)
    file = tmp_path / "more.jsonl"
    file.write_text('{"text": "a"}\n\n{"text": "b"}\n{"text": ""}\n', encoding="utf-8")
    with pytest.raises(la.DataError, match=r"Record 2 \(.*more.jsonl, line 4\): text is empty"):
        list(adapted.predict_stream(file, at_once=1))
    file.write_text('{"body": "a"}\n{"body": "b"}\n', encoding="utf-8")
    assert len(list(adapted.predict_stream(file, columns={"text": "body"}, at_once=1))) == 2
    for wrong in ("one text", {"text": "a"}):  # said at once, not with the first answer
        with pytest.raises(la.DataError, match=r"Write predict_stream\("):
            adapted.predict_stream(wrong)
    with pytest.raises(la.LightAdaptError, match="at_once"):
        adapted.predict_stream(["a"], at_once=0)
    with pytest.raises(la.LightAdaptError, match="There is no adaptation 'other'"):
        adapted.predict_stream(["a"], adapter="other")


@pytest.mark.usefixtures("plain_processor")
def test_a_stream_stays_with_the_adaptation_that_it_began_with(tiny):
    adapted = la.adapt(tiny("bert"), "classification", labels=["a", "b"])
    adapted.add("second", labels=["c", "d"])
    with torch.no_grad():
        expected = adapted.predict(["x", "y"])
    found = adapted.predict_stream(iter(["x", "y"]), at_once=1)
    first = next(found)
    adapted.use("second")
    assert [first, *found] == expected
