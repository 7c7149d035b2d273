"""Texts that `/predict` generates: waited for, counted, and asked for by the names of fields that were trained."""

from __future__ import annotations

import time

import pytest

import lightadapt as la
from lightadapt.serving.queue import Ask, Job, Queue
from lightadapt.serving.settings import Settings

TEXTS = ["I want my money back", "Where is my parcel?", "Please send it to Cape Town"]


@pytest.mark.parametrize("how", [{"ask": Ask(generates=True, seed=3)}, {"tell": print}], ids=["seed", "stream"])
def test_what_can_have_no_company_waits_for_none(how):
    queue = Queue(Settings(max_wait_ms=10_000))
    job = Job("summary", TEXTS[:1], **how)
    queue.put(job)
    began = time.monotonic()
    assert queue.take() == [job]
    assert time.monotonic() - began < 5


def test_tokens_of_generated_predictions_are_counted(start, saved):
    """Whether they are written token by token, as a decoder's are, or by `generate`."""
    client, _ = start("writer", "summary")
    for name in ("writer", "summary"):
        answer = client.post(f"/predict/{name}", json={"inputs": TEXTS, "options": {"max_new_tokens": 5}})
        expected = la.load(saved / name).predict(TEXTS, options={"max_new_tokens": 5})
        assert answer.json()["predictions"] == expected
    counted = client.get("/metrics").text
    for name in ("writer", "summary"):
        assert f'lightadapt_generated_tokens_total{{adapter="{name}"}} 15.0' in counted


@pytest.mark.parametrize("base", ["gpt2", "t5"])
def test_records_of_texts_have_the_names_that_were_trained(tiny, start, saved, base):
    adapted = la.adapt(tiny(base), la.Generation(max_new_tokens=3, columns={"prompt": "question"}))
    adapted.save(saved / f"asked-{base}")
    client, _ = start(f"asked-{base}")
    for given in ([{"question": "Where is my parcel?"}], ["Where is my parcel?"]):
        answer = client.post(f"/predict/asked-{base}", json={"inputs": given})
        assert answer.json() == {"predictions": adapted.predict(given)}
    asked = {"model": f"asked-{base}", "prompt": "Where is my parcel?"}
    assert client.post("/v1/completions", json=asked).json()["choices"][0]["text"] == adapted.predict(given)[0]
