"""The log of a server: lines of JSON, whoever writes them, with the id of the request that they are about."""

from __future__ import annotations

import io
import json
import logging

import pytest
import uvicorn
from asked import wait_for
from learned import as_learned

import lightadapt as la
from lightadapt.errors import warn
from lightadapt.serving import decoding
from lightadapt.serving.logs import about, logging_to
from lightadapt.serving.server import serve

LONG = "where is my parcel " * 60


@pytest.fixture
def lines():
    """The log of a test, read as it grows."""
    stream = io.StringIO()
    with logging_to(stream):
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def told(lines, event):
    return [line for line in lines() if line["event"] == event]


def test_a_warning_of_a_request_has_its_id_each_time(start, lines, capsys):
    client, _ = start("intents")
    for number in ("one", "two"):
        client.post("/predict/intents", json={"inputs": [LONG]}, headers={"X-Request-ID": number})
    found = told(lines, "warning")
    assert [line["request_id"] for line in found] == ["one", "two"]
    assert all(line["kind"] == "UserWarning" and "longer than" in line["message"] for line in found)
    assert [line["request_id"] for line in told(lines, "request")] == ["one", "two"]
    assert capsys.readouterr().err == ""


def test_a_warning_of_texts_that_are_written_has_its_id(start, lines, monkeypatch):
    client, _ = start("chat")
    drafts_of = decoding.drafts_of

    def warning(*given):
        warn("odd")
        return drafts_of(*given)

    monkeypatch.setattr(decoding, "drafts_of", warning)
    asked = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
    assert client.post("/v1/chat/completions", json=asked, headers={"X-Request-ID": "a"}).status_code == 200
    assert [line["request_id"] for line in told(lines, "warning")] == ["a"]


def test_a_warning_of_several_requests_has_their_ids(start, lines, held, pool):
    client, catalogue = start("intents", max_wait_ms=0)
    with held:
        first = pool.submit(client.post, "/predict/intents", json={"inputs": ["hello"]})
        held.computing.wait(30)
        others = [
            pool.submit(client.post, "/predict/intents", json={"inputs": [LONG]}, headers={"X-Request-ID": name})
            for name in "ab"
        ]
        wait_for(lambda: catalogue.waiting == 2)
    assert [each.result().status_code for each in (first, *others)] == [200] * 3
    (found,) = told(lines, "warning")
    assert sorted(found["request_ids"]) == ["a", "b"]
    assert "request_id" not in found


def test_what_comes_and_goes_is_told(start, lines, saved):
    client, _ = start("intents", "ner", adapters=saved, max_loaded=1)
    client.post("/predict/ner", json={"inputs": ["hello"]}, headers={"X-Request-ID": "asks"})
    (loaded,) = told(lines, "adapter loaded")
    assert (loaded["adapter"], loaded["how"], loaded["request_id"]) == ("ner", "built", "asks")
    client.post("/adapters", json={"name": "more", "path": "qa"}, headers={"X-Request-ID": "adds"})
    client.delete("/adapters/more", headers={"X-Request-ID": "removes"})
    assert told(lines, "adapter added")[0]["request_id"] == "adds"
    assert told(lines, "adapter removed")[0]["request_id"] == "removes"


def test_what_others_log_is_lines_too_and_their_handlers_come_back(lines):
    loggers = [logging.getLogger(name) for name in ("transformers", "uvicorn.error", "lightadapt.serving")]
    stream = io.StringIO()
    before = [(each.level, each.propagate, list(each.handlers)) for each in loggers]
    with logging_to(stream), about("it"):
        logging.getLogger("transformers.generation").warning("pad token")
        logging.getLogger("asyncio").error("never retrieved")
        logging.getLogger("uvicorn.error").info("Started")
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line["request_id"]) for line in found] == [
        (event, "it") for event in ("pad token", "never retrieved", "Started")
    ]
    assert [(each.level, each.propagate, each.handlers) for each in loggers] == before
    logging.getLogger("transformers").warning("behind it")
    assert "behind it" not in stream.getvalue()


def test_an_engine_that_ends_is_told(start, lines, monkeypatch, capsys):
    client, catalogue = start("intents")
    engine = catalogue.named("intents").engine

    def broken(**_):
        raise MemoryError("no more")

    monkeypatch.setattr(engine.queue, "take", broken)
    client.post("/predict/intents", json={"inputs": ["hello"]})
    wait_for(lambda: not engine.is_alive)
    assert client.get("/health").status_code == 503
    (line,) = told(lines, "engine ended")
    assert line["level"] == "critical"
    assert "no more" in line["error"]
    assert capsys.readouterr().err == ""


def test_all_that_a_server_says_from_its_start_is_lines(tiny, tmp_path, monkeypatch, capsys):
    other = la.adapt(tiny("bert"), "classification", labels=["a", "b"], dtype="bfloat16")
    as_learned(other).save(tmp_path / "other")
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    monkeypatch.delenv("LIGHTADAPT_API_KEYS", raising=False)
    serve({"other": tmp_path / "other"}, host="0.0.0.0", port=0)
    found = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in found] == ["warning", "open to all", "ready"]
    assert "bfloat16" in found[0]["message"]
