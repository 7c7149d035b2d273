"""How many requests a second `lightadapt serve` answers, and how it stands ten minutes of all that happens to servers.

python benchmarks/serving.py [speed] [--clients 1,8,64] [--adapters 1,8,32] [--seconds 15] [--rounds 3] [--threads 1]
python benchmarks/serving.py pool [--clients 64]      # 1,000 adapters on disk, each asked once before, and 32 in
                                                      # memory, beside 32 in memory
python benchmarks/serving.py soak [--minutes 10]      # memory, and every answer checked, under disturbances

The base is the MiniLM of `lightadapt[demo]`, and each adapter classifies texts by ten labels of its own. lightadapt
serves LoRAs on one base; the plain server (`servers/plain.py`) has a pipeline with a merged model, without LoRA, for
each. The clients are locust's (`pip install locust`), on the same machine: each sends one text, waits for its answer,
and sends the next. Servers take turns, both on the same so many cores, on which the clients do not run where there are
more; tables have the medians of the rounds. What is learned does not change the time, so the adapters hold random
numbers. `processor` is what the server itself computes for a request; on a busy machine it tells more than the rest.
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from command import command, keep, set_up
from data_sets import find_encoder
from measuring import medians, take_turns
from servers.adapters import TEXTS, make_adapters, repeated, zipf
from servers.soaking import soak
from servers.starting import ask, load, our_command, plain_command, started

from lightadapt.experiments.markdown import Table

SPEED = Table(
    "adapters | clients | plain, requests/s | lightadapt, requests/s | ratio | plain, median, 95 % | "
    "lightadapt, median, 95 % | processor, plain, lightadapt",
    "{adapters} | {clients} | {one[requests_per_second]:,.0f} | {other[requests_per_second]:,.0f} | {ratio:.2f} | "
    "{one[median_ms]:,.0f}, {one[p95_ms]:,.0f} ms | {other[median_ms]:,.0f}, {other[p95_ms]:,.0f} ms | "
    "{one[processor_ms]:.1f}, {other[processor_ms]:.1f} ms",
)
POOL = Table(
    "clients | 32 in memory, requests/s | 32 of 1,000 in memory, requests/s | ratio | median, 95 % | of 1,000 | "
    "processor",
    "{clients} | {one[requests_per_second]:,.0f} | {other[requests_per_second]:,.0f} | {ratio:.2f} | "
    "{one[median_ms]:,.0f}, {one[p95_ms]:,.0f} ms | {other[median_ms]:,.0f}, {other[p95_ms]:,.0f} ms | "
    "{one[processor_ms]:.1f}, {other[processor_ms]:.1f} ms",
)
IN_MEMORY = 32


def asked_of(names: list[str], weights: list[float] | None = None, answers: Any = None) -> dict[str, Any]:
    """What the clients ask: each as often, unless weights say otherwise."""
    return {"names": names, "weights": weights or [1.0] * len(names), "texts": TEXTS, "answers": answers or {}}


def compare(sides: dict[str, Any], options: Any, clients: int) -> dict[str, Any]:
    """The medians of two sides, servers with what they are asked, and their ratio."""
    runs = take_turns(
        {side: partial(load, server, clients, options.seconds, asked) for side, (server, asked) in sides.items()},
        options.rounds,
    )
    one, other = (medians(mine) for mine in runs.values())
    return {"one": one, "other": other, "ratio": other["requests_per_second"] / one["requests_per_second"]}


def speed(folder: Path, model: str, options: Any) -> dict[str, Any]:
    """Plain servers beside lightadapt, by the number of adapters and clients."""
    counts = [int(count) for count in options.adapters.split(",")]
    names = [f"adapter-{number}" for number in range(max(counts))]
    make_adapters(model, folder, names, merged=names)
    cores, facts = sorted(os.sched_getaffinity(0)), {}
    print(SPEED.head)
    for count in counts:
        chosen = names[:count]
        os.sched_setaffinity(0, cores)
        with (
            started(plain_command(folder, chosen), options.threads) as plain,
            started(our_command(folder, chosen), options.threads) as ours,
        ):
            os.sched_setaffinity(0, cores[options.threads :] or cores)  # of the clients, which inherit it
            for clients in map(int, options.clients.split(",")):
                asked = asked_of(chosen)
                found = compare({"plain": (plain, asked), "lightadapt": (ours, asked)}, options, clients)
                facts[f"{count} adapters, {clients} clients"] = found
                print(SPEED.row({"adapters": count, "clients": clients, **found}), flush=True)
    return facts


def pool(folder: Path, model: str, options: Any) -> dict[str, Any]:
    """A thousand adapters on disk of which 32 are in memory, beside 32 that are in memory; both by Zipf's law."""
    names = [f"adapter-{number}" for number in range(IN_MEMORY)]
    answers = make_adapters(model, folder, names)
    many = [*names, *repeated(folder, names, 1_000 - IN_MEMORY)]
    answers |= {name: answers[names[number % IN_MEMORY]] for number, name in enumerate(many[IN_MEMORY:])}
    cores, facts = sorted(os.sched_getaffinity(0)), {}
    few = our_command(folder, names)
    with (
        started(few, options.threads) as all_there,
        started(our_command(folder, many, "--max-loaded", str(IN_MEMORY)), options.threads) as pooled,
    ):
        os.sched_setaffinity(0, cores[options.threads :] or cores)
        for name in many:  # the first time, all that there is to know of an artifact is read and checked
            ask(pooled, name, TEXTS[0])
        print(POOL.head)
        for clients in map(int, options.clients.split(",")):
            sides = {
                "32": (all_there, asked_of(names, zipf(IN_MEMORY), answers)),
                "1000": (pooled, asked_of(many, zipf(1_000), answers)),
            }
            facts[str(clients)] = found = compare(sides, options, clients)
            print(POOL.row({"clients": clients, **found}), flush=True)
    return facts


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print what was found."""
    parser = command(__doc__, rounds=3, threads=1, model=None, json=None)
    parser.add_argument("case", nargs="?", choices=["speed", "pool", "soak"], default="speed")
    parser.add_argument("--clients", default="1,8,64", help="how many clients at once; default: %(default)s")
    parser.add_argument("--adapters", default="1,8,32", help="how many adapters; default: %(default)s")
    parser.add_argument("--seconds", type=int, default=15, help="of a run")
    parser.add_argument("--minutes", type=float, default=10, help="of the soak")
    options = parser.parse_args(arguments)
    set_up(options.threads)
    model = options.model or find_encoder()
    with tempfile.TemporaryDirectory() as folder:
        if options.case == "soak":
            facts = soak(Path(folder), model, options.minutes, options.threads)
        else:
            facts = (speed if options.case == "speed" else pool)(Path(folder), model, options)
    keep(options.json, facts)
    return 1 if facts.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
