"""Servers in processes of their own, and locust that asks them."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

HERE = Path(__file__).parent


def plain_command(folder: Path, names: Sequence[str]) -> list[str]:
    """How the plain server is started, but for its port."""
    return [sys.executable, str(HERE / "plain.py"), "{port}", *(f"{name}={folder / name}-merged" for name in names)]


def our_command(folder: Path, names: Sequence[str], *more: str) -> list[str]:
    """How lightadapt is started, but for its port."""
    folders = [str(folder / name) for name in names]
    return [*(sys.executable, "-m", "lightadapt", "serve", *folders), "--port", "{port}", "--device", "cpu", *more]


@contextmanager
def started(words: Sequence[str], threads: int) -> Iterator[tuple[str, int]]:
    """A server in a process of its own, on the first so many cores; its address and process, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, environment = f"http://127.0.0.1:{port}", {**os.environ, "OMP_NUM_THREADS": str(threads)}
    words = [word.format(port=port) if word == "{port}" else word for word in words]
    with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        os.sched_setaffinity(process.pid, sorted(os.sched_getaffinity(0))[:threads])
        try:
            while process.poll() is None:
                try:
                    urlopen(f"{address}/ready", timeout=2).close()
                    break
                except OSError:
                    time.sleep(0.2)
            if process.poll() is not None:
                raise RuntimeError(f"{' '.join(words)[:300]} has ended")
            yield address, process.pid
        finally:
            process.terminate()


def ask(server: tuple[str, int], name: str, text: str) -> Any:
    """One answer of a server."""
    body = json.dumps({"inputs": [text]}).encode()
    request = Request(f"{server[0]}/predict/{name}", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)


def processor_seconds(process: int) -> float:
    """The seconds that a process has computed so far, which other processes on the machine hardly change."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def locust(address: str, clients: int, seconds: float, asked: Mapping[str, Any]) -> Iterator[tuple[Any, Path]]:
    """Clients at work in a process of their own, which ends after the block, and the folder for what they find."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
        words = [
            *(sys.executable, "-m", "locust", "-f", str(HERE / "clients.py"), "--headless", "--host", address),
            *("-u", str(clients), "-r", str(clients), "-t", f"{seconds:.0f}s", "--reset-stats", "--only-summary"),
            *("--csv", f"{folder}/found", "--loglevel", "ERROR"),
        ]
        environment = {**os.environ, "LIGHTADAPT_CLIENTS": f"{folder}/asked.json"}
        with subprocess.Popen(
            words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as process:
            yield process, Path(folder)


def load(server: tuple[str, int], clients: int, seconds: int, asked: Mapping[str, Any]) -> dict[str, float]:
    """What locust measured of a server; a request that failed ends the benchmark.

    Raises:
        RuntimeError: one did, with what was wrong.
    """
    before = processor_seconds(server[1])
    with locust(server[0], clients, seconds, asked) as (process, folder):
        process.wait()
        found = read_stats(folder)
    return {**found, "processor_ms": 1_000 * (processor_seconds(server[1]) - before) / max(1.0, found["requests"])}


def read_stats(folder: Path) -> dict[str, float]:
    """What locust wrote down.

    Raises:
        RuntimeError: a request failed.
    """
    rows = {kind: _rows(folder / f"found_{kind}.csv") for kind in ("stats", "failures")}
    if rows["failures"]:
        raise RuntimeError(f"{len(rows['failures'])} kinds of failures, such as {rows['failures'][0]}")
    total = next(row for row in rows["stats"] if row["Name"] == "Aggregated")
    return {
        "requests": float(total["Request Count"]),
        "requests_per_second": float(total["Requests/s"]),
        "median_ms": float(total["50%"]),
        "p95_ms": float(total["95%"]),
        "p99_ms": float(total["99%"]),
    }


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))
