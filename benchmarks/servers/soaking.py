"""A server under all that happens to servers at once: what its memory does, and whether every answer is right."""

from __future__ import annotations

import json
import random
import signal
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np

from servers.adapters import TEXTS, make_adapters, zipf
from servers.checking import is_near
from servers.starting import locust, our_command, read_stats, started

ADAPTERS, IN_MEMORY, GUESTS, CLIENTS = 48, 16, 8, 8
MALFORMED = 500
WARM_UP = 0.34
"""The share of the time before memory is looked at."""
MOST_A_MINUTE = 1.0
"""MB a minute that memory may grow after that."""
BROKEN = [
    *(b"", b"{", b"[]", b"null", b'"a"', b'{"inputs": "a"}', b'{"inputs": [""]}', b'{"inputs": [5]}', b"\xff\xfe"),
    *(b'{"inputs": [["a", "b", "c"]]}', b'{"inputs": [{"txt": "a"}]}', b'{"inputs": ["a"], "scores": "maybe"}'),
    *(b'{"input": ["a"]}', b'{"inputs": ["a"], "more": 1}', b'{"inputs": ["a"], "options": {"num_beams": 2}}'),
    *(b'{"inputs": [null]}', b'{"inputs": ["a", {"text": ""}]}', b"[" * 5_000, b'{"inputs": ' + b"9" * 5_000 + b"}"),
]


def soak(folder: Path, model: str, minutes: float, threads: int) -> dict[str, Any]:
    """Serve for some minutes under load, with disturbances; what was found, and what of it failed."""
    names = [f"adapter-{number}" for number in range(ADAPTERS + GUESTS)]
    answers = make_adapters(model, folder, names)
    stay, guests = names[:ADAPTERS], names[ADAPTERS:]
    asked = {
        "names": stay,
        "weights": zipf(ADAPTERS),
        "texts": TEXTS,
        "answers": {name: answers[name] for name in stay},
    }
    words = our_command(folder, stay, "--max-loaded", str(IN_MEMORY), "--adapters", str(folder))
    with (
        started(words, threads) as (address, process),
        locust(address, CLIENTS, 60 * minutes, asked) as (clients, found),
    ):
        disturbances = Disturbances(address, asked, {name: answers[name] for name in guests}, 60 * minutes)
        memory = disturbances.watch(process, clients)
        stats = read_stats(found)
    facts = {"minutes": minutes, **stats, **disturbances.facts(), **grown(memory)}
    facts["failed"] = failures_of(facts)
    for name, value in facts.items():
        print(f"{name:<24} {value}")
    return facts


class Disturbances:
    """Adapters that come and go, clients that die, and malformed requests, all while others are answered."""

    def __init__(self, address: str, asked: dict[str, Any], guests: dict[str, Any], seconds: float) -> None:
        self._address, self._asked, self._guests, self._seconds = address, asked, guests, seconds
        self._ends = time.monotonic() + seconds
        self._counts: Counter[str] = Counter()
        self._wrong: list[str] = []

    def watch(self, process: int, clients: Any) -> list[tuple[float, float]]:
        """Disturb until the clients have ended; the minutes and the megabytes of the server on the way."""
        threads = [threading.Thread(target=each) for each in (self._come_and_go, self._kill, self._ask_wrongly)]
        for thread in threads:
            thread.start()
        memory, began = [], time.monotonic()
        while clients.poll() is None:
            memory.append(((time.monotonic() - began) / 60, resident(process)))
            time.sleep(1)
        for thread in threads:
            thread.join()
        return memory

    def facts(self) -> dict[str, Any]:
        """How often each happened, and what was wrong."""
        return {**self._counts, "wrong": self._wrong[:5]}

    def _come_and_go(self) -> None:
        """Add an adapter, ask it, remove it, and ask it again."""
        draw = random.Random(1)
        while time.monotonic() < self._ends - 5:
            name, text = draw.choice(list(self._guests)), draw.choice(TEXTS)
            body = {"inputs": [text], "scores": True}
            added, _ = self._send("POST", "/adapters", {"name": name, "path": name})
            status, answer = self._send("POST", f"/predict/{name}", body)
            right = status == 200 and is_near(answer["predictions"][0], self._guests[name][text])
            removed, _ = self._send("DELETE", f"/adapters/{name}")
            gone, _ = self._send("POST", f"/predict/{name}", body)
            if (added, right, removed, gone) != (201, True, 200, 404):
                self._wrong.append(f"{name} came and went: {added}, {status} {str(answer)[:200]}, {removed}, {gone}")
            self._counts["adapters that came and went"] += 1
            time.sleep(0.5)

    def _kill(self) -> None:
        """Clients that end in the middle: locust's own by a signal, others before they have sent or read everything."""
        draw = random.Random(2)
        host, port = self._address.removeprefix("http://").split(":")
        while time.monotonic() < self._ends - 10:
            body = json.dumps({"inputs": TEXTS * 2}).encode()
            head = f"POST /predict/{draw.choice(self._asked['names'])} HTTP/1.1\r\nHost: {host}\r\n"
            whole = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            with socket.create_connection((host, int(port))) as one:
                one.sendall(whole[: draw.choice([20, 120, len(whole)])])
                time.sleep(draw.random() / 10)
            self._counts["clients that left"] += 1
            if self._counts["clients that left"] % 20 == 1:
                with locust(self._address, 2, 60, self._asked) as (clients, _):
                    time.sleep(5)
                    clients.send_signal(signal.SIGKILL)
                self._counts["clients killed"] += 1
            time.sleep(0.5)

    def _ask_wrongly(self) -> None:
        for number in range(MALFORMED):
            raw = BROKEN[number % len(BROKEN)]
            status, answer = self._send("POST", f"/predict/{self._asked['names'][number % ADAPTERS]}", raw)
            if not (400 <= status < 500 and answer.get("error", {}).get("message")):
                self._wrong.append(f"{raw[:60]!r}: {status} {str(answer)[:200]}")
            self._counts["malformed"] += 1
            time.sleep(0.8 * self._seconds / MALFORMED)

    def _send(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The status and the answer to a request; a body of bytes is sent as it is."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = Request(self._address + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError as error:
            return 0, {"lost": str(error)}


def resident(process: int) -> float:
    """The megabytes of memory that a process has."""
    text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) / 1_000


def grown(memory: list[tuple[float, float]]) -> dict[str, float]:
    """How memory grows after the warm-up, in MB a minute, and what it is at the end."""
    late = np.array(memory[int(len(memory) * WARM_UP) :])
    slope = float(np.polyfit(late[:, 0], late[:, 1], 1)[0])
    return {"MB a minute": round(slope, 2), "MB at the end": round(memory[-1][1], 1)}


def failures_of(facts: dict[str, Any]) -> list[str]:
    """What of it should not be."""
    failed = list(facts["wrong"])
    if facts["MB a minute"] > MOST_A_MINUTE:
        failed.append(f"memory grows by {facts['MB a minute']} MB a minute")
    if facts["malformed"] < MALFORMED:
        failed.append(f"{facts['malformed']} malformed requests were sent")
    return failed
