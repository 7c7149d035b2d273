"""Clients of a server that writes: each has a chat answered, and then the next; it prints the tokens that were written.

python chats.py ADDRESS CLIENTS TOKENS NAME…
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.request import Request, urlopen

HEROES = (
    *("dog", "cat", "bird", "tree", "boy", "girl", "bear", "frog"),
    *("sun", "star", "house", "car", "boat", "fish", "king", "queen"),
)
PLACES = ("in the park", "at home", "by the sea", "in the dark wood")
QUESTIONS = [f"Tell me of a {hero} {place}." for place in PLACES for hero in HEROES]


def answered(address: str, name: str, question: str, tokens: int) -> int:
    """The number of tokens of an answer."""
    asked = {"model": name, "messages": [{"role": "user", "content": question}], "max_tokens": tokens}
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"{address}/v1/chat/completions", json.dumps(asked).encode(), headers), timeout=600) as answer:
        return int(json.load(answer)["usage"]["completion_tokens"])


def main(address: str, clients: str, tokens: str, *names: str) -> None:
    """Have all questions answered, by the adapters in turn."""
    asked: Sequence[tuple[str, str]] = [(names[place % len(names)], each) for place, each in enumerate(QUESTIONS)]
    with ThreadPoolExecutor(int(clients)) as pool:
        print(sum(pool.map(lambda each: answered(address, *each, int(tokens)), asked)))


if __name__ == "__main__":
    main(*sys.argv[1:])
