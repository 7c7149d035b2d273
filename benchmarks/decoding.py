"""How many tokens a second `lightadapt serve` writes for many chats at once, beside `generate` for one after the other.

python benchmarks/decoding.py --data FOLDER [--model FOLDER] [--clients 1,4,16] [--adapters 1] [--tokens 100]
    [--rounds 3] [--threads 1] [--json FILE]

The decoder is `models/stories260k-llama` in FOLDER, or another one with `--model`. The server has so many LoRA
adaptations of it, in a process of its own on the first so many cores. Clients are threads of this process, on the other
cores where there are more; each has a chat answered with at most so many tokens, and then the next of 64, the adapters
in turn. The other side is transformers alone on the same cores: the merged model, without LoRA, and one call of
`generate` for each of 16 of the prompts. Sides take turns; the table has the medians of the rounds, counted in tokens
that were really written. Both compute in float32. What is learned does not change the time, so the adaptations are fresh.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.request import Request, urlopen

import torch
from command import command, keep, lacks, set_up
from measuring import take_turns
from serving import started
from transformers import AutoModelForCausalLM, AutoTokenizer

import lightadapt as la
from lightadapt.experiments.markdown import Table

HEROES = "dog cat bird tree boy girl bear frog sun star house car boat fish king queen".split()
PLACES = ("in the park", "at home", "by the sea", "in the dark wood")
QUESTIONS = [f"Tell me of a {hero} {place}." for place in PLACES for hero in HEROES]
SERVER = """
import sys
from pathlib import Path
import lightadapt as la

folders = {Path(folder).name: folder for folder in sys.argv[2:]}
la.serve(folders, port=int(sys.argv[1]), device="cpu", dtype="float32")
"""
"""`lightadapt serve` in the number format of the other side."""
TABLE = Table("side | tokens/s | of generate", "{side} | {rate:,.0f} | {ratio:.1f}")


def make_models(model: str, adapters: int, folder: Path) -> list[str]:
    """Write the adaptations, and the merged model; the names of the adaptations."""
    adapted = la.adapt(model, "dialogue", device="cpu", dtype="float32")
    merged = adapted.merge()
    merged.save_pretrained(folder / "merged")
    adapted.tokenizer.save_pretrained(folder / "merged")
    names = [f"writer-{number}" for number in range(adapters)]
    for name in names:
        adapted.save(folder / name)
    return names


def generated(folder: Path, tokens: int, cores: Sequence[int]) -> float:
    """Tokens a second of transformers' `generate`, one prompt after the other."""
    os.sched_setaffinity(0, cores)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    count = 0
    begin = time.perf_counter()
    for question in QUESTIONS[: len(HEROES)]:
        given = tokenizer(f"user: {question}\nassistant:", return_tensors="pt")["input_ids"]
        found = model.generate(
            given, attention_mask=torch.ones_like(given), max_new_tokens=tokens, do_sample=False, pad_token_id=0
        )
        count += found.shape[1] - given.shape[1]
    return count / (time.perf_counter() - begin)


def served(address: str, names: Sequence[str], clients: int, tokens: int, cores: Sequence[int]) -> float:
    """Tokens a second that so many clients get."""
    os.sched_setaffinity(0, cores)  # of the clients, which inherit it

    def ask(place: int) -> int:
        messages = [{"role": "user", "content": QUESTIONS[place]}]
        asked = {"model": names[place % len(names)], "messages": messages, "max_tokens": tokens}
        body = json.dumps(asked).encode()
        request = Request(f"{address}/v1/chat/completions", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=600) as answer:
            return int(json.load(answer)["usage"]["completion_tokens"])

    begin = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        count = sum(pool.map(ask, range(len(QUESTIONS))))
    return count / (time.perf_counter() - begin)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table."""
    parser = command(__doc__, data=None, model=None, tokens=100, rounds=3, threads=1, json=None)
    parser.add_argument("--clients", default="1,4,16", help="how many clients at once; default: %(default)s")
    parser.add_argument("--adapters", type=int, default=1, help="how many adaptations; default: %(default)s")
    options = parser.parse_args(arguments)
    model = options.model or (options.data and options.data / "models" / "stories260k-llama")
    if lacks(model and Path(model), ["config.json"]):
        return 0
    set_up(options.threads)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        names = make_models(str(model), options.adapters, folder)
        words = [sys.executable, "-c", SERVER, "{port}", *(str(folder / name) for name in names)]
        cores = sorted(os.sched_getaffinity(0))
        ours, theirs = cores[: options.threads], cores[options.threads :] or cores
        with started(words, options.threads) as address:
            sides = {"generate, one by one": partial(generated, folder / "merged", options.tokens, ours)}
            for clients in map(int, options.clients.split(",")):
                sides[f"served, {clients} at once"] = partial(served, address, names, clients, options.tokens, theirs)
            for side in sides.values():
                side()  # what is read and compiled once
            runs = take_turns(sides, options.rounds)
    middle = {side: statistics.median(rates) for side, rates in runs.items()}
    print(TABLE.head)
    for side, rate in middle.items():
        print(TABLE.row({"side": side, "rate": rate, "ratio": rate / middle["generate, one by one"]}))
    keep(options.json, {"adapters": options.adapters, "tokens_per_second": runs})
    return 0


if __name__ == "__main__":
    sys.exit(main())
