"""The example for Ray: two replicas answer for adapters by their names."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

import lightadapt as la

EXAMPLE = Path(__file__).parents[2] / "examples" / "serve_with_ray.py"
PATIENCE = 240.0


def ask(port, name, inputs):
    headers = {"Content-Type": "application/json", "serve_multiplexed_model_id": name}
    request = Request(f"http://127.0.0.1:{port}/", json.dumps({"inputs": inputs}).encode(), headers)
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)["predictions"]


@pytest.mark.slow
def test_two_replicas_answer_for_adapters_by_name(tiny, messages, tmp_path):
    pytest.importorskip("ray", reason="needs the extra ray, which is not installed in CI")
    texts, expected = [each["text"] for each in messages[:6]], {}
    for number, name in enumerate(("first", "second", "third")):
        adapted = la.adapt(tiny("bert"), "classification", labels=messages, seed=number, dtype="float32")
        adapted.save(tmp_path / name)
        expected[name] = adapted.predict(texts)
    assert len({str(each) for each in expected.values()}) > 1
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, str(EXAMPLE), *(str(tmp_path / name) for name in expected), "--port", str(port)]
    place = {**os.environ, "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(words, env=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        try:
            end = time.monotonic() + PATIENCE
            while True:
                try:
                    assert ask(port, "first", texts) == expected["first"]
                    break
                except (HTTPError, URLError, ConnectionError, TimeoutError):
                    assert server.poll() is None, server.stderr.read()
                    assert time.monotonic() < end
                    time.sleep(1)
            for name in [*expected] * 3:
                assert ask(port, name, texts) == expected[name]
            with pytest.raises(HTTPError) as refused:
                ask(port, "fourth", texts)
            assert refused.value.code == 404
            assert "first" in json.load(refused.value)["error"]
            with pytest.raises(HTTPError) as refused:
                ask(port, "second", "no list")
            assert refused.value.code == 400
        finally:
            server.terminate()
            server.wait(60)
