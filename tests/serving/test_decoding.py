"""Texts that are written together: each is what is written alone, whoever joins and leaves meanwhile."""

from __future__ import annotations

import random

import pytest
import torch
from learned import stir

import lightadapt as la
from lightadapt.errors import NoAdaptationError
from lightadapt.serving.asking import as_failure
from lightadapt.serving.decoding import Decoding
from lightadapt.serving.metrics import Metrics
from lightadapt.serving.queue import Ask, Job
from lightadapt.serving.settings import Settings

TEXTS = [
    "I want my money back",
    "Where",
    "Please send it to Cape Town, and not on Tuesday",
    "refund order",
    "Hello",
    "A b",
]
NAMES = ("first", "second", "third")


def written_by(base, *methods):
    """Adaptations of a base that differ, under the names above."""
    adapted = la.adapt(base, "generation", method=methods[0])
    adapted.rename("default", NAMES[0])
    for name, method in zip(NAMES[1:], methods[1:], strict=False):
        adapted.add(name, method=method)
    for seed, name in enumerate(adapted.names):
        with adapted.computing(name) as runner:
            inserted = runner.adaptation.adapter.parameters
            stir([value for key, value in runner.model.named_parameters() if key in inserted], 0.2, seed=seed)
    return adapted


def decoding_of(adapted, **settings):
    decoding = Decoding(adapted, Settings(**settings), Metrics())
    for name in adapted.names:
        decoding.learn(name)
    return decoding


@pytest.fixture(scope="module")
def writers(tiny):
    return written_by(tiny("llama"), "lora", "ia3", "lora")


@pytest.fixture
def decoding(writers):
    return decoding_of(writers)


def asked(text, name=NAMES[0], seed=None, tell=None, **options):
    return Job(name, [{"prompt": text}], Ask(written=True, options={"max_new_tokens": 12, **options}, seed=seed), tell)


def write_all(decoding):
    """Step until nothing is left to do."""
    while decoding:
        decoding.step()


def alone(adapted, job):
    """What `predict` writes for the same request by itself."""
    return adapted.predict(job.inputs, adapter=job.name, options=job.ask.options)


def texts_of(job):
    return [written.text for written in job.answer.result(0)]


@pytest.mark.parametrize(
    ("base", "methods"),
    [
        ("llama", ("lora", "lora", "dora")),
        ("gpt2", ("lora", "ia3", "bitfit")),
        ("qwen3", ("pfeiffer", "layernorm", "lora")),
        ("granite", ("prefix", "lora")),
    ],
)
def test_each_text_is_what_predict_writes_alone(tiny, base, methods):
    adapted = written_by(tiny(base), *methods)
    decoding = decoding_of(adapted, decode_tokens=300)
    draw = random.Random(len(base))
    jobs, left = [], []
    for _ in range(30):
        job = asked(draw.choice(TEXTS), draw.choice(adapted.names), max_new_tokens=draw.randint(1, 24))
        assert decoding.serves(job)
        jobs.append(job)
        decoding.add(job)
        for _ in range(draw.randint(0, 4)):
            decoding.step()
        if draw.random() < 0.2:
            left.append(jobs.pop(draw.randrange(len(jobs))))
            left[-1].given_up.set()
    write_all(decoding)
    assert [texts_of(job) for job in jobs] == [alone(adapted, job) for job in jobs]
    assert all(job.answer.done() for job in left)
    assert len({text for job in jobs for text in texts_of(job)}) > 5
    assert any(stepper.mixes for stepper in decoding._steppers.values())


def test_the_texts_of_a_request_keep_their_order(writers, decoding):
    job = Job(NAMES[1], TEXTS, Ask(options={"max_new_tokens": 9}))
    decoding.add(job)
    decoding.add(asked("Tuesday"))
    write_all(decoding)
    assert job.answer.result(0) == alone(writers, job)
    assert job.together == len(TEXTS) + 1


@pytest.mark.parametrize(
    "options",
    [
        {"stop_strings": ["e"]},
        {"stop_strings": [" t", "or"], "max_new_tokens": 24},
        {"repetition_penalty": 1.8},
        {"no_repeat_ngram_size": 2, "max_new_tokens": 24},
        {"temperature": 0.7},
        {"temperature": 1.5, "top_p": 0.6},
        {"temperature": 1.5, "top_k": 3, "repetition_penalty": 1.3},
        {"do_sample": True, "min_p": 0.02},
    ],
)
def test_options_of_one_row_do_what_they_do_in_generate(writers, decoding, options):
    others = [asked(text, draw, temperature=1.2) for text, draw in zip(TEXTS, NAMES * 2, strict=True)]
    jobs = [asked(text, seed=11, **options) for text in TEXTS]
    for one, other in zip(jobs, others, strict=True):
        decoding.add(one)
        decoding.step()
        decoding.add(other)
    write_all(decoding)
    for job in jobs:
        torch.manual_seed(11)
        assert texts_of(job) == alone(writers, job)


def test_a_seed_gives_the_same_text_again_and_none_does_not(decoding):
    def draw(count, seed):
        jobs = [asked("Where", seed=seed, temperature=2.0) for _ in range(count)]
        for job in jobs:
            decoding.add(job)
        write_all(decoding)
        return {tuple(texts_of(job)) for job in jobs}

    assert len(draw(1, 5) | draw(4, 5)) == 1
    assert len(draw(4, None)) > 1
    several = Job(NAMES[0], ["Where"] * 3, Ask(options={"max_new_tokens": 12, "temperature": 2.0}, seed=5))
    decoding.add(several)
    write_all(decoding)
    assert len(set(several.answer.result(0))) > 1


def test_pieces_make_the_text_and_come_before_its_end(decoding):
    told, plain = {text: [] for text in TEXTS}, [asked(text, stop_strings=["re", " a"]) for text in TEXTS]
    jobs = [asked(text, stop_strings=["re", " a"], tell=told[text].append) for text in TEXTS]
    for one, other in zip(jobs, plain, strict=True):
        decoding.add(one)
        decoding.add(other)
        decoding.step()
    write_all(decoding)
    for text, one, other in zip(TEXTS, jobs, plain, strict=True):
        assert "".join(told[text]) == texts_of(one)[0]
        assert one.answer.result(0) == other.answer.result(0)
    assert max(map(len, told.values())) > 2


def test_ends_and_tokens_are_counted(writers, decoding):
    short, long = asked("Hello", max_new_tokens=3), asked("Hello", max_new_tokens=16)
    for job in (short, long):
        decoding.add(job)
    write_all(decoding)
    (first,), (second,) = short.answer.result(0), long.answer.result(0)
    assert (first.tokens, first.finish, second.tokens) == (3, "length", 16)
    stopped = asked("Hello", stop_strings=[second.text[4:6]], max_new_tokens=16)
    decoding.add(stopped)
    write_all(decoding)
    (third,) = stopped.answer.result(0)
    assert third.finish == "stop"
    assert 0 < third.tokens < 16
    assert third.prompt_tokens == first.prompt_tokens > 0


def test_no_more_is_written_at_once_than_there_is_room_for(writers):
    decoding = decoding_of(writers, decode_tokens=120)
    jobs = [asked(text, max_new_tokens=20) for text in TEXTS * 2]
    for job in jobs:
        decoding.add(job)
    most = 0
    while decoding:
        decoding.step()
        drafts = decoding._drafts
        most = max(most, len(drafts))
        assert len(drafts) <= 1 or len(drafts) * max(draft.longest for draft in drafts) <= 120
    assert 1 < most < len(jobs)
    assert [texts_of(job) for job in jobs] == [alone(writers, job) for job in jobs]


@pytest.mark.parametrize("when", ["prompt", "later"])
def test_what_goes_wrong_with_one_text_is_told_to_it_alone(writers, decoding, monkeypatch, when):
    good = [asked(text, name) for text, name in zip(TEXTS, NAMES * 2, strict=True)]
    bad = asked("wrong", seed=1)
    for job in (*good[:3], bad, *good[3:]):
        decoding.add(job)
    if when == "later":
        decoding.step()
    rows = decoding._waiting if when == "prompt" else decoding._drafts
    (poison,) = [draft for draft in rows if draft.drafts.job is bad]
    compute = decoding._read if when == "prompt" else decoding._next

    def failing(drafts):
        if poison in drafts:
            raise RuntimeError("out of memory")
        return compute(drafts)

    monkeypatch.setattr(decoding, "_read" if when == "prompt" else "_next", failing)
    write_all(decoding)
    assert str(bad.answer.exception(0)) == "out of memory"
    assert [texts_of(job) for job in good] == [alone(writers, job) for job in good]


def test_sampling_that_fails_is_told_to_whoever_asked_for_it(writers, decoding):
    good, sampled, odd = asked("Hello"), asked("Hello", top_k=2), asked("Hello", temperature=5e-324)
    for job in (good, sampled, odd):
        decoding.add(job)
    write_all(decoding)
    assert "Generating failed (RuntimeError" in str(odd.answer.exception(0))
    assert sampled.answer.exception(0) is None
    assert texts_of(good) == alone(writers, good)


def test_a_failure_while_texts_join_is_told_to_them(decoding, monkeypatch):
    job = asked("Hello")
    decoding.add(job)

    def fail(drafts, logits):
        raise RuntimeError("no memory")

    monkeypatch.setattr(decoding, "_write", fail)
    with pytest.raises(RuntimeError, match="no memory"):
        decoding.step()
    assert str(job.answer.exception(0)) == "no memory"


def test_a_request_that_cannot_be_used_is_refused_and_others_go_on(writers, decoding):
    good, empty = asked("Hello"), asked("")
    odd = asked("Hello", temperature=0.5, top_p=-3.0)
    for job in (good, empty, odd):
        decoding.add(job)
    write_all(decoding)
    assert "Record 0: prompt is empty" in str(empty.answer.exception(0))
    assert "top_p" in str(odd.answer.exception(0))
    assert texts_of(good) == alone(writers, good)


def test_texts_of_an_adapter_that_is_removed_end_with_an_error(tiny):
    adapted = written_by(tiny("gpt2"), "lora", "lora")
    decoding = decoding_of(adapted)
    kept, gone, late = asked("Hello"), asked("Hello", NAMES[1]), asked("Where", NAMES[1])
    for job in (kept, gone):
        decoding.add(job)
    decoding.step()
    decoding.forget(NAMES[1])
    adapted.remove(NAMES[1])
    adapted.add(NAMES[1], method="lora")  # another one, of the same name
    decoding.add(late)
    write_all(decoding)
    assert texts_of(kept) == alone(adapted, kept)
    for job in (gone, late):
        with pytest.raises(NoAdaptationError, match="removed meanwhile") as refused:
            job.answer.result(0)
        assert as_failure(refused.value).status == 404  # as if it had never been there


@pytest.mark.parametrize(
    ("base", "how", "options", "is_stepped"),
    [
        ("llama", {}, {}, True),
        ("llama", {}, {"num_beams": 2}, False),
        ("llama", {"task": la.Generation(options={"num_beams": 2})}, {}, False),
        ("llama", {"task": la.Generation(options={"num_beams": 2})}, {"num_beams": 1}, True),
        ("llama", {"task": la.Generation(options={"typical_p": 0.5, "do_sample": True})}, {}, False),
        ("llama", {"method": "prompt"}, {}, False),
        ("t5", {}, {}, False),
    ],
)
def test_what_cannot_be_written_token_by_token_is_left_to_generate(tiny, base, how, options, is_stepped):
    decoding = decoding_of(la.adapt(tiny(base), **{"task": "generation", **how}))
    assert decoding.serves(asked("Hello", "default", **options)) is is_stepped
    assert not decoding.serves(Job("default", ["Hello"], Ask(scores=True)))
