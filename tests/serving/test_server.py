"""A server as a process of its own, and over a real socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import httpx2
import pytest
from asked import wait_for

import lightadapt as la
from lightadapt.serving import engine
from lightadapt.serving.server import _bind, running
from lightadapt.serving.settings import Settings

TEXT = "Please send it to Cape Town"


@pytest.mark.slow
def test_the_command_serves_until_it_is_told_to_stop(saved):
    command = [sys.executable, "-m", "lightadapt", "serve", str(saved / "ner"), f"intents={saved / 'intents'}"]
    environment = {**os.environ, "LIGHTADAPT_API_KEYS": "one"}
    with subprocess.Popen(
        [*command, "--port", "0", "--max-wait-ms", "300"], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            lines = map(json.loads, process.stderr)
            ready = next(line for line in lines if line["event"] == "ready")
            assert ready["adapters"] == ["ner", "intents"]
            client = httpx2.Client(base_url=ready["address"], timeout=30, headers={"Authorization": "Bearer one"})
            assert client.get("/ready").status_code == 200
            assert client.post("/predict/ner", json={"inputs": [TEXT]}).status_code == 200
            answers = []
            threads = [
                threading.Thread(target=lambda asked=asked: answers.append(client.post("/predict/intents", json=asked)))
                for asked in ({"inputs": [TEXT * 10] * 1_000}, {"inputs": [TEXT], "scores": True})
            ]
            for thread in threads:
                thread.start()
            wait_for(lambda: answers or client.get("/ready").json()["waiting"] in (1, 1_000))
            process.send_signal(signal.SIGTERM)  # while one waits, which is finished
            for thread in threads:
                thread.join()
            assert [answer.status_code for answer in answers] == [200, 200]
            log = list(lines)
        finally:
            process.kill()
    asked = [line for line in log if line["event"] == "request" and line["route"] == "/predict/{name}"]
    assert [line["adapter"] for line in asked] == ["ner", "intents", "intents"]
    assert asked[0]["request_id"]
    assert asked[0]["records"] == 1
    assert TEXT not in json.dumps(log)


def asking(address, path, asked):
    """A socket over which a request was sent."""
    host, port = address.removeprefix("http://").split(":")
    body = json.dumps(asked).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    client = socket.create_connection((host, int(port)))
    client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return client


def waiting_at(address) -> int:
    return httpx2.get(f"{address}/ready").json()["waiting"]


def test_what_a_client_that_has_left_asked_for_is_not_computed(saved, monkeypatch):
    computed, going, predict = [], threading.Event(), la.Adapted.predict

    def slowly(self, inputs, **how):
        computed.append(inputs)
        going.wait(30)
        return predict(self, inputs, **how)

    with running({"ner": saved / "ner"}, Settings(port=0, max_wait_ms=0)) as address:
        monkeypatch.setattr(la.Adapted, "predict", slowly)
        sockets = []
        for text in ("first", "left"):
            sockets.append(asking(address, "/predict/ner", {"inputs": [text]}))
            wait_for(lambda: computed)
        wait_for(lambda: waiting_at(address) == 1)
        sockets[1].close()
        wait_for(lambda: waiting_at(address) == 0)
        going.set()
        assert sockets[0].recv(100).startswith(b"HTTP/1.1 200")
        sockets[0].close()
    assert computed == [["first"]]


def test_a_stream_whose_client_leaves_before_its_first_piece_is_not_written(saved, monkeypatch):
    begun, going, write = [], threading.Event(), engine.write

    def slowly(adapted, jobs, options):
        begun.extend(job.inputs[0]["source"] for job in jobs)
        going.wait(30)
        return write(adapted, jobs, options)

    asked = {"model": "summary", "max_tokens": 2, "stream": True}
    with running({"summary": saved / "summary"}) as address:
        monkeypatch.setattr(engine, "write", slowly)
        sockets = []
        for text in ("first", "left"):
            sockets.append(asking(address, "/v1/completions", {**asked, "prompt": text}))
            wait_for(lambda: begun)
        wait_for(lambda: waiting_at(address) == 1)
        sockets[1].close()
        wait_for(lambda: waiting_at(address) == 0)
        going.set()
        assert sockets[0].recv(100).startswith(b"HTTP/1.1 200")
        sockets[0].close()
        metrics = httpx2.get(f"{address}/metrics").text
    assert begun == ["first"]
    assert 'lightadapt_requests_total{adapter="summary",route="/v1/completions",status="499"} 1.0' in metrics


def test_answers_are_sent_at_once():
    """Else each waits for the client to acknowledge what came before, for 40 ms."""
    with _bind(Settings(port=0)) as bound:
        bound.listen()
        with socket.create_connection(bound.getsockname()), bound.accept()[0] as accepted:
            assert accepted.proto == socket.IPPROTO_TCP


def test_two_servers_in_one_process_have_ports_and_counts_of_their_own(saved):
    with running({"ner": saved / "ner"}) as one, running({"ner": saved / "ner"}) as other:
        assert one != other
        assert httpx2.post(f"{one}/predict/ner", json={"inputs": [TEXT]}).status_code == 200
        assert 'lightadapt_records_total{adapter="ner"} 1.0' in httpx2.get(f"{one}/metrics").text
        assert "lightadapt_records_total{" not in httpx2.get(f"{other}/metrics").text
