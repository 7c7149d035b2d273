"""How many requests a second `lightadapt serve` answers, beside a plain FastAPI server with pipelines.

python benchmarks/serving.py [--clients 1,8,64] [--seconds 15] [--rounds 3] [--threads 1] [--json FILE]

Two tasks on the MiniLM of `lightadapt[demo]`: labels and entities. lightadapt serves two LoRA adaptations on one base;
the plain server (`servers/plain.py`) has two pipelines with the merged models, without LoRA. The clients are locust's
(`pip install locust`), on the same machine: each sends one text, waits for its answer, and sends the next. Servers take
turns, both on the same so many cores, on which the clients do not run where there are more; the table has the medians
of the rounds. What is learned does not change the time, so the adaptations are fresh.
"""

from __future__ import annotations

import csv
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from command import command, keep, set_up
from data_sets import find_encoder
from measuring import take_turns

import lightadapt as la
from lightadapt import sample
from lightadapt.experiments.markdown import Table

SERVERS = Path(__file__).parent / "servers"
TASKS = {"intents": "classification", "entities": "ner"}
TABLE = Table(
    "clients | plain, requests/s | lightadapt, requests/s | ratio | plain, median, 95 % | lightadapt, median, 95 %",
    "{clients} | {plain:,.0f} | {ours:,.0f} | {ratio:.2f} | {plain_ms} | {our_ms}",
)


def make_models(model: str, folder: Path) -> None:
    """Write both adaptations, and the merged models."""
    for name, task in TASKS.items():
        adapted = la.adapt(model, task, labels=sample.records("train"), device="cpu")
        adapted.save(folder / name)
        adapted.merge().save_pretrained(folder / f"{name}-merged")
        adapted.tokenizer.save_pretrained(folder / f"{name}-merged")


def commands(folder: Path) -> dict[str, list[str]]:
    """How each server is started, but for its port."""
    merged = [f"{name}={folder / name}-merged" for name in TASKS]
    return {
        "plain": [sys.executable, str(SERVERS / "plain.py"), "{port}", *merged],
        "lightadapt": [
            *(sys.executable, "-m", "lightadapt", "serve", *(str(folder / name) for name in TASKS)),
            *("--port", "{port}", "--device", "cpu"),
        ],
    }


@contextmanager
def started(words: list[str], threads: int) -> Iterator[str]:
    """A server in a process of its own, on the first so many cores; its address, once it answers."""
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
                raise RuntimeError(f"{' '.join(words)} has ended")
            yield address
        finally:
            process.terminate()


def load(address: str, clients: int, seconds: int) -> dict[str, float]:
    """What locust measured of a server; a request that failed ends the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                *(sys.executable, "-m", "locust", "-f", str(SERVERS / "clients.py"), "--headless", "--host", address),
                *("-u", str(clients), "-r", str(clients), "-t", f"{seconds}s", "--reset-stats", "--only-summary"),
                *("--csv", f"{folder}/found", "--loglevel", "ERROR"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with Path(folder, "found_stats.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    total = next(row for row in rows if row["Name"] == "Aggregated")
    return {
        "requests_per_second": float(total["Requests/s"]),
        "median_ms": float(total["50%"]),
        "p95_ms": float(total["95%"]),
    }


def as_row(clients: int, runs: dict[str, list[dict[str, float]]]) -> str:
    """A line of the table."""
    middle = {
        side: {name: statistics.median(run[name] for run in mine) for name in mine[0]} for side, mine in runs.items()
    }
    plain, ours = middle["plain"], middle["lightadapt"]
    told = {side: f"{facts['median_ms']:,.0f}, {facts['p95_ms']:,.0f} ms" for side, facts in middle.items()}
    return TABLE.row(
        {
            "clients": clients,
            "plain": plain["requests_per_second"],
            "ours": ours["requests_per_second"],
            "ratio": ours["requests_per_second"] / plain["requests_per_second"],
            "plain_ms": told["plain"],
            "our_ms": told["lightadapt"],
        }
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table."""
    parser = command(__doc__, rounds=3, threads=1, model=None, json=None)
    parser.add_argument("--clients", default="1,8,64", help="how many clients at once; default: %(default)s")
    parser.add_argument("--seconds", type=int, default=15, help="of a run")
    options = parser.parse_args(arguments)
    set_up(options.threads)
    cores = sorted(os.sched_getaffinity(0))
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        make_models(options.model or find_encoder(), Path(folder))
        words = commands(Path(folder))
        with started(words["plain"], options.threads) as plain, started(words["lightadapt"], options.threads) as ours:
            os.sched_setaffinity(0, cores[options.threads :] or cores)  # of the clients, which inherit it
            print(TABLE.head)
            for clients in map(int, options.clients.split(",")):
                sides = {"plain": plain, "lightadapt": ours}
                runs = take_turns(
                    {side: partial(load, address, clients, options.seconds) for side, address in sides.items()},
                    options.rounds,
                )
                facts[str(clients)] = runs
                print(as_row(clients, runs), flush=True)
    keep(options.json, facts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
