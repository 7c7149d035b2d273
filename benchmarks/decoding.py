"""How many tokens a second `lightadapt serve` writes for many chats at once, beside `generate` for one after the other.

python benchmarks/decoding.py --data FOLDER [--model FOLDER] [--clients 1,4,16] [--adapters 1] [--tokens 100]
    [--rounds 3] [--threads 1] [--json FILE]

The decoder is `models/stories260k-llama` in FOLDER, or another one with `--model`. The server has so many LoRA
adaptations of it, on the first so many cores. Clients (`servers/chats.py`) are a process of their own, on the other
cores where there are more; each has a chat answered with at most so many tokens, and then the next of 64, the adapters
in turn. The other side is one call of transformers' `generate` for each of 16 prompts, in the same process on the
same cores: of the adapted model, and of the merged one, which has no LoRA to compute. Sides take turns; the table has
the medians of the rounds, counted in tokens that were really written: by the clock on the wall, and by that of the
process's CPU, which other programs on the machine disturb less. All compute in float32. What is learned does not change
the time, so the adaptations are fresh.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from command import command, keep, lacks, set_up
from measuring import both_clocks, medians, take_turns
from servers.chats import HEROES, QUESTIONS
from servers.starting import HERE
from transformers import PreTrainedModel

import lightadapt as la
from lightadapt.experiments.markdown import Table
from lightadapt.serving.server import running

ADAPTED, MERGED = "generate, adapted", "generate, merged"
OTHERS = {"adapted": ADAPTED, "merged": MERGED}
TABLE = Table(
    "side | tokens/s | of adapted | of merged | tokens per second of CPU | of adapted | of merged",
    "{side} | {wall:,.0f} | {wall_adapted:.1f} | {wall_merged:.1f} | {cpu:,.0f} | {cpu_adapted:.1f} | {cpu_merged:.1f}",
)


def generated(model: PreTrainedModel, tokenizer: Any, tokens: int) -> dict[str, float]:
    """What transformers' `generate` writes, one prompt after the other."""
    count = 0
    begin = both_clocks()
    for question in QUESTIONS[: len(HEROES)]:
        given = tokenizer(f"user: {question}\nassistant:", return_tensors="pt")["input_ids"]
        found = model.generate(  # type: ignore[operator]
            given, attention_mask=torch.ones_like(given), max_new_tokens=tokens, do_sample=False, pad_token_id=0
        )
        count += found.shape[1] - given.shape[1]
    return rates(count, begin)


def served(address: str, names: Sequence[str], clients: int, tokens: int, cores: Sequence[int]) -> dict[str, float]:
    """What the server in this process writes for so many clients, which run on these cores."""
    begin = both_clocks()
    words = [sys.executable, str(HERE / "chats.py"), address, str(clients), str(tokens), *names]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as asking:
        os.sched_setaffinity(asking.pid, cores)
        found, _ = asking.communicate()
    return rates(int(found), begin)


def rates(count: int, begin: tuple[float, float]) -> dict[str, float]:
    """Tokens a second by both clocks."""
    wall, cpu = both_clocks()
    return {"wall": count / (wall - begin[0]), "cpu": count / (cpu - begin[1])}


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table."""
    parser = command(__doc__, data=None, model=None, tokens=100, rounds=3, threads=1, json=None)
    parser.add_argument("--clients", default="1,4,16", help="how many clients at once; default: %(default)s")
    parser.add_argument("--adapters", type=int, default=1, help="how many adaptations; default: %(default)s")
    options = parser.parse_args(arguments)
    model = options.model or (options.data and options.data / "models" / "stories260k-llama")
    if lacks(model and Path(model), ["config.json"]):
        return 0
    if os.environ.get("OMP_NUM_THREADS") != str(options.threads):  # torch tells OpenMP of its own thread alone
        words = [sys.executable, __file__, *(sys.argv[1:] if arguments is None else arguments)]
        return subprocess.run(
            words, env={**os.environ, "OMP_NUM_THREADS": str(options.threads)}, check=False
        ).returncode
    set_up(options.threads)
    cores = sorted(os.sched_getaffinity(0))
    others = cores[options.threads :] or cores
    os.sched_setaffinity(0, cores[: options.threads])
    adapted = la.adapt(str(model), "dialogue", device="cpu", dtype="float32")
    with tempfile.TemporaryDirectory() as folder:
        folders = {f"writer-{number}": Path(folder, f"writer-{number}") for number in range(options.adapters)}
        for place in folders.values():
            adapted.save(place)
        models = {ADAPTED: adapted.model, MERGED: adapted.merge()}
        with running(folders, device="cpu", dtype="float32") as address:
            sides = {name: partial(generated, each, adapted.tokenizer, options.tokens) for name, each in models.items()}
            for clients in map(int, options.clients.split(",")):
                sides[f"served, {clients} at once"] = partial(
                    served, address, list(folders), clients, options.tokens, others
                )
            for side in sides.values():
                side()  # what is made once
            runs = take_turns(sides, options.rounds)
    middle = {side: medians(mine) for side, mine in runs.items()}
    print(TABLE.head)
    for side, mine in middle.items():
        of = {f"{clock}_{name}": mine[clock] / middle[each][clock] for clock in mine for name, each in OTHERS.items()}
        print(TABLE.row({"side": side, **mine, **of}))
    keep(options.json, {"adapters": options.adapters, "tokens_per_second": runs})
    return 0


if __name__ == "__main__":
    sys.exit(main())
