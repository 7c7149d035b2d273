"""What tests of a server read of its answers, and wait for."""

from __future__ import annotations

import time


def reason(answer) -> str:
    return answer.json()["error"]["message"]


def wait_for(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)
