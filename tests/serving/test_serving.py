"""A server of tiny adaptations: what requests get, each its own, whatever the others ask."""

from __future__ import annotations

import json
import random
import re
import socket
import time

import pytest
from asked import reason, wait_for
from learned import near

import lightadapt as la
from lightadapt.serving.server import running
from lightadapt.serving.settings import KEYS, Settings, keys_of

TEXTS = ["I want my money back", "Where is my parcel?", "Please send it to Cape Town"]


@pytest.fixture(scope="module")
def readers(start):
    return start("intents", "ner", "qa")


@pytest.fixture(scope="module")
def client(readers):
    return readers[0]


def test_it_predicts_what_predict_gives(client, saved):
    for name, inputs in (("intents", TEXTS), ("ner", TEXTS), ("qa", [["Who?", "Ada was here."]])):
        adapted = la.load(saved / name)
        for scores in (False, True):
            answer = client.post(f"/predict/{name}", json={"inputs": inputs, "scores": scores})
            expected = adapted.predict([tuple(i) if isinstance(i, list) else i for i in inputs], scores=scores)
            assert answer.status_code == 200
            near = json.loads(json.dumps(expected), parse_float=lambda text: pytest.approx(float(text), abs=1e-4))
            assert answer.json() == {"predictions": near}
            assert "queue;dur=" in answer.headers["server-timing"]


def test_adaptations_of_one_base_share_it_and_others_have_their_own(start):
    client, catalogue = start("intents", "ner", "writer")
    intents, ner, writer = (catalogue.named(name).engine for name in ("intents", "ner", "writer"))
    assert intents is ner
    assert writer is not ner
    cards = {card["id"]: card for card in client.get("/v1/models").json()["data"]}
    assert cards["ner"]["task"] == "ner"
    assert "refund" in cards["intents"]["labels"]
    assert [card["generates"] for card in cards.values()] == [False, False, True]


def test_one_that_trains_the_base_itself_has_its_own(tiny, saved, start):
    la.adapt(tiny("bert"), "classification", method="full", labels=["no", "yes"]).save(saved / "full")
    _, catalogue = start("ner", "full", "intents")
    assert catalogue.named("full").engine is not catalogue.named("ner").engine
    assert catalogue.named("intents").engine is catalogue.named("ner").engine


def test_requests_that_wait_are_computed_together(held, pool, client, readers):
    def ask(name, inputs):
        return pool.submit(client.post, f"/predict/{name}", json={"inputs": inputs})

    with held:
        first = ask("ner", TEXTS)
        held.computing.wait(20)
        others = [ask(name, TEXTS[:1]) for name in ["ner", "intents"] * 3]
        wait_for(lambda: readers[1].waiting == 6)
    answers = [each.result().json()["predictions"] for each in [first, *others]]
    assert held.sizes == [3, 6]
    assert [len(each) for each in answers] == [3, 1, 1, 1, 1, 1, 1]
    assert isinstance(answers[1][0], list)
    assert isinstance(answers[2][0], str)


def test_nothing_waits_while_nothing_is_computed(start):
    client, _ = start("intents", max_wait_ms=10_000)
    began = time.monotonic()
    assert client.post("/predict/intents", json={"inputs": TEXTS}).status_code == 200
    assert time.monotonic() - began < 5


def test_what_is_wrong_with_one_request_is_told_to_it_alone(held, pool, client, readers):
    with held:
        pool.submit(client.post, "/predict/ner", json={"inputs": TEXTS})
        held.computing.wait(20)
        good = [pool.submit(client.post, "/predict/ner", json={"inputs": TEXTS}) for _ in range(3)]
        bad = pool.submit(client.post, "/predict/intents", json={"inputs": ["fine", ""]})
        wait_for(lambda: readers[1].waiting == 11)
    assert {each.result().status_code for each in good} == {200}
    assert bad.result().status_code == 422
    assert reason(bad.result()).startswith("Record 1: text is empty")
    assert held.sizes[:2] == [3, 11]


def test_an_unknown_adapter_is_never_the_base(client):
    answer = client.post("/predict/nerr", json={"inputs": TEXTS})
    assert answer.status_code == 404
    assert reason(answer) == "There is no adapter 'nerr'. Did you mean 'ner'? There are: intents, ner, qa."
    assert "/predict/{name}" in reason(client.get("/predictions"))
    assert client.get("/predict/ner").status_code == 405


def test_a_full_queue_is_429(start, held, pool):
    client, catalogue = start("intents", queue_records=4, request_records=4)
    with held:
        first = pool.submit(client.post, "/predict/intents", json={"inputs": TEXTS})
        held.computing.wait(20)
        second = pool.submit(client.post, "/predict/intents", json={"inputs": TEXTS})
        wait_for(lambda: catalogue.waiting == 3)
        refused = client.post("/predict/intents", json={"inputs": TEXTS})
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
    assert first.result().status_code == second.result().status_code == 200


def test_a_slow_answer_is_504_and_what_nobody_waits_for_is_dropped(start, held, pool):
    client, catalogue = start("intents", timeout=0.2)
    with held:
        first = pool.submit(client.post, "/predict/intents", json={"inputs": TEXTS})
        held.computing.wait(20)
        assert client.post("/predict/intents", json={"inputs": TEXTS[:2]}).status_code == 504
        assert first.result().status_code == 504
        assert catalogue.waiting == 0
    assert client.post("/predict/intents", json={"inputs": TEXTS[:1]}).status_code == 200
    assert held.sizes == [3, 1]


def test_too_large_requests_are_413(start):
    client, _ = start("intents", request_records=2, request_bytes=1_000)
    assert client.post("/predict/intents", json={"inputs": TEXTS}).status_code == 413
    assert client.post("/predict/intents", json={"inputs": ["x" * 2_000]}).status_code == 413
    pieces = (b'{"inputs": ["', *[b"x" * 500] * 4, b'"]}')
    unsaid = client.post("/predict/intents", content=iter(pieces), headers={"content-type": "application/json"})
    assert unsaid.status_code == 413
    assert "1,000 bytes" in reason(unsaid)
    assert client.post("/predict/intents", json={"inputs": []}).json() == {"predictions": []}


def test_keys_are_needed_where_there_are_any(start):
    client, _ = start("intents", keys=frozenset({"one", "zwéi"}))
    body = {"inputs": TEXTS[:1]}
    for headers in ({}, {"Authorization": "Bearer on"}, {"Authorization": "one"}, {"X-API-Key": "two"}):
        answer = client.post("/predict/intents", json=body, headers=headers)
        assert answer.status_code == 401
        assert KEYS in reason(answer)
    for headers in ({"Authorization": "Bearer one"}, {"X-API-Key": "zwéi".encode()}):
        assert client.post("/predict/intents", json=body, headers=headers).status_code == 200
    assert client.get("/metrics").status_code == client.get("/openapi.json").status_code == 401
    assert {client.get(path).status_code for path in ("/", "/health", "/ready")} == {200}


def test_keys_come_from_the_environment():
    assert keys_of({}) == frozenset()
    with pytest.raises(la.LightAdaptError, match="holds no key"):
        keys_of({KEYS: " , "})


def test_pages_of_others_cannot_ask(client):
    plain = client.post("/predict/ner", content=json.dumps({"inputs": TEXTS}), headers={"content-type": "text/plain"})
    assert plain.status_code == 422
    rebound = client.post("/predict/ner", json={"inputs": TEXTS}, headers={"host": "evil.example"})
    assert rebound.status_code == 403
    assert "access-control-allow-origin" not in client.get("/v1/models").headers


def test_the_page_loads_nothing_from_elsewhere(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.findall(r"https?:|<script src|<link[^>]*href=\"(?!data:)|innerHTML|@import|\burl\(", page.text)
    described = client.get("/openapi.json").json()["paths"]
    assert {"/predict/{name}", "/v1/models", "/v1/chat/completions", "/v1/completions"} <= described.keys()
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_requests_have_an_id(client):
    assert client.get("/health", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    drawn = client.get("/health", headers={"x-request-id": "a\tb"}).headers["x-request-id"]
    assert len(drawn) == 32


def test_metrics_count_by_adapter(start):
    client, _ = start("intents", "ner")
    client.post("/predict/ner", json={"inputs": TEXTS})
    client.post("/predict/unknown", json={"inputs": TEXTS})
    assert client.post("/predict/intents", json={"inputs": [""]}).status_code == 422
    counted = client.get("/metrics").text
    for line in (
        'lightadapt_requests_total{adapter="ner",route="/predict/{name}",status="200"} 1.0',
        'lightadapt_requests_total{adapter="",route="/predict/{name}",status="404"} 1.0',
        'lightadapt_requests_total{adapter="intents",route="/predict/{name}",status="422"} 1.0',
        'lightadapt_records_total{adapter="ner"} 3.0',
        'lightadapt_characters_total{adapter="ner"} 66.0',
        'lightadapt_request_seconds_count{adapter="ner"} 1.0',
        'lightadapt_queue_seconds_count{adapter="ner"} 1.0',
        "lightadapt_batch_fill_count 2.0",
    ):
        assert line in counted
    assert "unknown" not in counted


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b'{"inputs": ["\xff"]}', 400, "the body is not UTF-8 at byte 13 (invalid start byte). Send JSON in UTF-8"),
        (b'{"inputs": ' + b"[" * 100_000, 400, "the body holds lists or objects too deep in one another"),
        (b'{"inputs": [' + b"9" * 5_000 + b"]}", 400, "the body cannot be read: Exceeds the limit"),
        (b'{"inputs": ["a"], "scores": "yes"}', 422, "scores: Input should be a valid boolean"),
        (b'{"inputs": ["a"], "unknown": 1}', 422, "unknown: Input should be a valid boolean"),
    ],
)
def test_a_body_that_cannot_be_read_has_a_reason(start, body, status, message):
    client, _ = start("intents")
    answer = client.post("/predict/intents", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, message in reason(answer)) == (status, True), answer.text


VALUES = [None, True, -1, 1e308, "", "a", "\x00", "\ud800", [], [[]], [None], {}, {"text": 5}, {"text": "a"}, [["a"]]]


def fuzzed(seed: int) -> bytes:
    """A body that is mostly no request."""
    draw = random.Random(seed)
    names = ["writer", "chat", "intents", "writr", draw.choice(VALUES)]
    keys = ("inputs", "scores", "options", "threshold", "model", "messages", "prompt", "stop", "stream", "max_tokens")
    values = [*VALUES, ["a", draw.choice(VALUES)], [draw.choice(VALUES)] * 3, {"max_new_tokens": draw.choice(VALUES)}]
    chosen = {key: draw.choice(values) for key in draw.sample(keys, draw.choice([0, 0, 1, 2, 4]))}
    if seed % 5 < 3 and draw.random() < 0.6:
        chosen["inputs"] = [draw.choice(values) for _ in range(draw.randint(0, 3))]
    if seed % 5 >= 3 and draw.random() < 0.9:
        chosen["model"] = draw.choice(names)
        chosen["prompt" if seed % 5 == 4 else "messages"] = draw.choice(["a", [{"role": "user", "content": "a"}]])
    body = json.dumps(draw.choice([chosen, chosen, chosen, draw.choice(values)])).encode()
    if draw.random() < 0.2:
        cut = draw.randrange(len(body) + 1)
        body = body[:cut] + draw.choice([b"", b"\xff", b"[" * 3_000, b"9" * 5_000, b"NaN"]) + body[cut:]
    return body


def test_malformed_requests_are_the_fault_of_the_client(start):
    client, _ = start("intents", "ner", "qa", "writer", "chat", max_new_tokens=2)
    seen, written = set(), 0
    for seed in range(500):
        path = ("/predict/intents", "/predict/ner", "/predict/qa", "/v1/chat/completions", "/v1/completions")[seed % 5]
        answer = client.post(path, content=fuzzed(seed), headers={"content-type": "application/json"})
        assert answer.status_code < 500, (path, fuzzed(seed), answer.text)
        assert answer.status_code == 200 or reason(answer)
        seen.add(answer.status_code)
        written += path.startswith("/v1") and answer.status_code == 200
    assert {200, 400, 404, 422} <= seen
    assert written > 5
    assert client.get("/ready").json()["waiting"] == 0


def test_a_failure_inside_is_told_by_its_id_alone(client, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("secret")

    monkeypatch.setattr(la.Adapted, "predict", fail)
    answer = client.post("/predict/ner", json={"inputs": TEXTS})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in answer.text
    monkeypatch.undo()
    assert client.post("/predict/ner", json={"inputs": TEXTS}).status_code == 200


def test_a_port_that_is_taken_is_said_before_anything_is_loaded(saved, no_weights):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(la.LightAdaptError, match=f"port={port}: another program listens there already"):
            la.serve({"ner": saved / "ner"}, port=port)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give {name: folder}"),
        ({"a/b": "x"}, "'a/b' cannot be used: take letters"),
        ({"ner": "/nowhere"}, "/nowhere"),
    ],
)
def test_what_cannot_be_served_is_refused(given, message):
    with pytest.raises(la.LightAdaptError) as refused, running(given):
        pass
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"port": 70_000}, "port=70000: give a whole number from 0 to 65535"),
        ({"port": True}, "port=True"),
        ({"host": ""}, "host=''"),
        ({"max_wait_ms": -1}, "max_wait_ms=-1"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"batch_records": 0}, "batch_records=0"),
        ({"queue_records": 5}, "would never find room"),
        ({"feedback": __file__}, "is a file. Give a folder for corrections"),
        ({"feedback": f"{__file__}/below"}, "cannot be used (Not a directory)"),
        ({"feedback": "x" * 300}, "cannot be used (File name too long)"),
        ({"feedback": "a\0b"}, "cannot be used (embedded null byte)"),
        ({"adapters": "x" * 300}, "there is no such folder"),
        ({"adapters": "/nowhere"}, "there is no such folder"),
        ({"adapters": "/", "host": "0.0.0.0"}, "could change what is served. Set LIGHTADAPT_API_KEYS"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, message):
    with pytest.raises(la.LightAdaptError) as refused:
        Settings(**settings)
    assert message in str(refused.value)


@pytest.fixture(scope="module")
def knowing(tiny, messages, saved):
    """A saved classifier that knows which texts it has learned."""
    adapted = la.adapt(tiny("bert"), "classification", labels=messages)
    adapted.fit(messages, epochs=1, args={"disable_tqdm": True})
    adapted.save(saved / "knowing")
    return la.load(saved / "knowing")


def test_texts_of_none_of_the_classes_are_null(start, knowing, pool):
    client, _ = start("intents", "knowing", "ner", "writer")
    texts = [*TEXTS, "A comet was seen near Saturn."]
    for scores in (False, True):
        asked = {"inputs": texts, "unknown": True, "scores": scores}
        answers = [pool.submit(client.post, "/predict/knowing", json=asked) for _ in range(3)]
        plain = client.post("/predict/intents", json={"inputs": texts})
        expected = json.loads(json.dumps(knowing.predict(texts, unknown=True, scores=scores)))
        assert all(near(answer.result().json()["predictions"], expected) for answer in answers)
        assert None not in plain.json()["predictions"]
    for name, phrase in (
        ("intents", "nothing is known of the texts"),
        ("ner", "one class a record, and 'ner'"),
        ("writer", "one class a record, and 'generation'"),
    ):
        answer = client.post(f"/predict/{name}", json={"inputs": TEXTS[:1], "unknown": True})
        assert answer.status_code == 422
        assert phrase in reason(answer)


def test_a_server_that_loads_when_asked_cannot_tell_them(start, knowing):
    client, _ = start("knowing", "ner", max_loaded=1)
    answer = client.post("/predict/knowing", json={"inputs": TEXTS, "unknown": True})
    assert answer.status_code == 422
    assert "without max_loaded" in reason(answer)
