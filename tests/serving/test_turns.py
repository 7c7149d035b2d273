"""The thread that computes for a base: texts and all else take turns, and neither waits for the other."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from asked import wait_for

import lightadapt as la
from lightadapt.serving.engine import Engine
from lightadapt.serving.failures import RequestError
from lightadapt.serving.metrics import Metrics
from lightadapt.serving.queue import Ask, Job
from lightadapt.serving.settings import Settings

TEXTS = ["I want my money back", "Where is my parcel?", "Hello"]


@pytest.fixture
def engine(tiny, messages):
    """An engine that has not begun, for two writers and a reader on one base."""
    adapted = la.adapt(tiny("llama"), "generation")
    adapted.rename("default", "writer")
    adapted.add("editor", method="lora")
    adapted.add("intents", task="classification", labels=messages)
    engine = Engine(adapted, Settings(), Metrics())
    for name in adapted.names:
        engine.learn(name)
    yield engine
    engine.stop(20)
    assert not engine.is_alive


def writing(name="writer", tokens=24, **how):
    return Job(name, [TEXTS[0]], Ask(options={"max_new_tokens": tokens}, **how))


def test_both_kinds_of_work_get_the_same_time(engine, monkeypatch):
    """By this clock a batch takes as long as four steps: so four of these follow it, as long as there are both."""
    order, compute, step, passed = [], engine._compute, engine._decoding.step, [0.0]
    monkeypatch.setattr("lightadapt.serving.engine.time", SimpleNamespace(monotonic=lambda: passed[0]))

    def slow_batch(jobs):
        order.append("batch")
        compute(jobs)
        passed[0] += 4

    def slow_step():
        order.append("step")
        step()
        passed[0] += 1

    monkeypatch.setattr(engine, "_compute", slow_batch)
    monkeypatch.setattr(engine._decoding, "step", slow_step)
    jobs = [Job("intents", TEXTS, Ask(scores=bool(number % 2))) for number in range(2)]  # not computed together
    text = writing()
    for job in (*jobs, text):
        engine.put(job)
    engine.start()
    assert [len(job.answer.result(20)) for job in (*jobs, text)] == [3, 3, 1]
    first, second = (place for place, kind in enumerate(order) if kind == "batch")
    assert first == 0
    assert second - first - 1 == 4
    assert order.count("step") == 23  # the first token comes with the prompt


@pytest.fixture
def slow_engine(engine, monkeypatch):
    """An engine whose texts take their time."""
    step = engine._decoding.step

    def slow_step():
        time.sleep(0.02)
        step()

    monkeypatch.setattr(engine._decoding, "step", slow_step)
    return engine


def test_requests_to_read_are_answered_while_a_text_is_written(slow_engine):
    engine = slow_engine
    text = writing()
    engine.put(text)
    engine.start()
    answered = 0
    while not text.answer.done():
        job = Job("intents", TEXTS)
        engine.put(job)
        assert job.answer.result(20) == engine.adapted.predict(TEXTS, adapter="intents")
        answered += 1
    assert answered >= 3
    assert text.answer.result(0) == engine.adapted.predict(
        text.inputs, adapter="writer", options={"max_new_tokens": 24}
    )


def test_texts_are_written_while_others_keep_asking(engine):
    asking = threading.Event()
    asking.set()

    def ask():
        while asking.is_set():
            job = Job("intents", TEXTS * 10)
            engine.put(job)
            job.answer.result(20)

    engine.start()
    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    texts = [writing(name) for name in ("writer", "editor")]
    for text in texts:
        engine.put(text)
    assert [len(text.answer.result(20)) for text in texts] == [1, 1]
    asking.clear()
    for client in clients:
        client.join()


def test_an_adapter_can_be_removed_while_it_writes(slow_engine):
    engine = slow_engine
    gone, kept = writing("editor"), writing("writer")
    for job in (gone, kept):
        engine.put(job)
    engine.start()
    wait_for(lambda: gone.together and kept.together)
    engine.forget("editor")
    engine.adapted.remove("editor")
    assert "editor" in str(gone.answer.exception(20))
    assert len(kept.answer.result(20)) == 1


def test_what_is_in_work_is_finished_when_it_stops(engine):
    texts = [writing(name, tokens) for name in ("writer", "editor") for tokens in (3, 24)]
    for text in texts:
        engine.put(text)
    engine.start()
    engine.stop(20)
    assert not engine.is_alive
    assert all(text.answer.done() for text in texts)
    with pytest.raises(RequestError, match="stopping"):
        engine.put(writing())


def test_a_text_that_nobody_waits_for_makes_room(engine):
    told = []
    left, kept = writing(tokens=32), writing(tokens=4)
    left.tell = told.append
    engine.put(left)
    left.tell = lambda piece: (told.append(piece), left.give_up())
    engine.put(kept)
    engine.start()
    assert len(kept.answer.result(20)) == 1
    wait_for(lambda: left.answer.done() and not engine._decoding)
    assert 1 <= len(told) <= 3


def test_a_failure_between_steps_reaches_who_waits_and_the_next_are_served(engine, monkeypatch):
    def fail():
        raise RuntimeError("no memory")

    monkeypatch.setattr(engine._decoding, "step", fail)
    engine.start()
    text = writing()
    engine.put(text)
    assert str(text.answer.exception(20)) == "no memory"
    monkeypatch.undo()
    again = writing()
    engine.put(again)
    assert len(again.answer.result(20)) == 1


def test_several_beams_are_left_to_generate(engine):
    beams, text = writing(), writing()
    beams.ask = Ask(options={"max_new_tokens": 6, "num_beams": 2})
    for job in (beams, text):
        engine.put(job)
    assert (beams.stepped, text.stepped) == (False, True)
    engine.start()
    assert beams.answer.result(20) == engine.adapted.predict(beams.inputs, adapter="writer", options=beams.ask.options)
    assert len(text.answer.result(20)) == 1
