"""Damaged artifacts: each mutation of a saved one has to be refused, or to predict what the whole one predicts.

    python benchmarks/faults.py                      # 3,000 mutations of a tiny artifact, seeded; some minutes
    python benchmarks/faults.py --edited --count 1000  # with verify=False: only errors of other libraries count

A mutation cuts a file, flips a bit, takes a file away, puts another's in its place, adds bytes, or edits a field of a
JSON file. What comes of it is `refused` (an error of lightadapt), `equal` (the same predictions), `changed` (others) or
`foreign` (an exception of another library). Exit status 1 if there is any of the last, or of `changed` where digests
are verified.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from command import command, set_up
from transformers import BertConfig, BertModel
from words import save_word_tokenizer

import lightadapt as la

WORDS = ["[PAD]", "[UNK]", "where", "is", "my", "parcel", "please", "send", "a", "refund", "thank", "you"]
TEXTS = ["where is my parcel", "please send a refund", "thank you"]
VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    2**70,
    1e308,
    "",
    "x",
    "../../etc/passwd",
    "\ud800",
    [],
    [[]],
    {},
    {"a": {}},
    [1],
]
"""What takes the place of a value in a JSON file."""
Mutation = Callable[[Path, Path, random.Random], None]


# ---- mutations of a file, of which `other` is the same one in another artifact


def truncate(file: Path, other: Path, draw: random.Random) -> None:
    """Cut the file somewhere."""
    content = file.read_bytes()
    file.write_bytes(content[: draw.randrange(len(content))])


def flip(file: Path, other: Path, draw: random.Random) -> None:
    """Flip one bit."""
    content = bytearray(file.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    file.write_bytes(content)


def delete(file: Path, other: Path, draw: random.Random) -> None:
    """Take the file away."""
    file.unlink()


def swap(file: Path, other: Path, draw: random.Random) -> None:
    """Put the file of another artifact in its place."""
    shutil.copy2(other, file)


def append(file: Path, other: Path, draw: random.Random) -> None:
    """Add bytes at the end."""
    file.write_bytes(file.read_bytes() + draw.randbytes(draw.randrange(1, 64)))


def edit(file: Path, other: Path, draw: random.Random) -> None:
    """Change, remove or add a field of a JSON file, at any depth; of another file, write any bytes in the middle."""
    if file.suffix != ".json":
        content = file.read_bytes()
        start = draw.randrange(len(content))
        file.write_bytes(content[:start] + draw.randbytes(8) + content[start + 8 :])
        return
    root = json.loads(file.read_text(encoding="utf-8"))
    places = list(_places(root))
    holder, key = draw.choice(places)
    what = draw.randrange(4)
    if what == 0:
        del holder[key]
    elif what == 1 and isinstance(holder, dict):
        holder[f"{key}x"] = draw.choice(VALUES)
    else:
        holder[key] = draw.choice(VALUES)
    file.write_text(json.dumps(root))


def _places(node: Any) -> Any:
    """Every holder in a JSON value with a key into it."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield node, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


MUTATIONS: dict[str, Mutation] = {each.__name__: each for each in (truncate, flip, delete, swap, append, edit)}


# ---- what comes of them


def save_artifacts(folder: Path) -> tuple[Path, Path, Any]:
    """Two artifacts on a tiny base with random weights, and what the first predicts."""
    save_word_tokenizer(
        folder / "base", {word: place for place, word in enumerate(WORDS)}, unknown="[UNK]", end="[PAD]", pad="[PAD]"
    )
    torch.manual_seed(1)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **shape)).save_pretrained(folder / "base")
    saved: list[Any] = []
    for name, labels in (("whole", ["parcel", "refund", "thanks"]), ("other", ["refund", "parcel", "thanks"])):
        adapted = la.adapt(folder / "base", "classification", labels=labels, seed=len(saved), dtype="float32")
        with torch.no_grad():
            for parameter in adapted.model.parameters():
                parameter += 0.3 * torch.randn_like(parameter) * parameter.requires_grad
        adapted.save(folder / name)
        saved.append(adapted.predict(TEXTS, scores=True))
    return folder / "whole", folder / "other", saved[0]


def outcome(folder: Path, expected: Any, *, verify: bool) -> str:
    """What loading a mutated artifact, and predicting with it, comes to."""
    try:
        found = la.load(folder, dtype="float32", verify=verify).predict(TEXTS, scores=True)
    except la.LightAdaptError:
        return "refused"
    except Exception as error:  # what this counts
        return f"foreign {type(error).__name__}: {str(error)[:100]}"
    return "equal" if found == expected else "changed"


def run(count: int, seed: int, *, verify: bool) -> Counter[tuple[str, str]]:
    """How often each mutation came to what."""
    found: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as place:
        whole, other, expected = save_artifacts(Path(place))
        assert outcome(whole, expected, verify=True) == "equal"
        names = sorted(entry.name for entry in whole.iterdir())
        for number in range(count):
            draw = random.Random(f"{seed} {number}")
            kind, name = draw.choice(sorted(MUTATIONS)), draw.choice(names)
            mutant = Path(shutil.copytree(whole, Path(place) / "mutant"))
            MUTATIONS[kind](mutant / name, other / name, draw)
            came = outcome(mutant, expected, verify=verify)
            found[kind, came.partition(" ")[0]] += 1
            if came.startswith("foreign") or (verify and came == "changed"):
                print(f"mutation {number}, {kind} of {name}: {came}", flush=True)
            shutil.rmtree(mutant)
    return found


def main() -> None:
    """Mutate, and print what came of it by kind of mutation."""
    parser = command(__doc__, threads=1)
    parser.add_argument("--count", type=int, default=3000, help="mutations (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: %(default)s)")
    parser.add_argument("--edited", action="store_true", help="load with verify=False")
    given = parser.parse_args()
    set_up(given.threads)
    found = run(given.count, given.seed, verify=not given.edited)
    results = ("refused", "equal", "changed", "foreign")
    for kind in sorted(MUTATIONS):
        print(f"{kind:9}", *(f"{found[kind, result]:5} {result}" for result in results))
    total = {result: sum(found[kind, result] for kind in MUTATIONS) for result in results}
    print("all      ", *(f"{total[result]:5} {result}" for result in results))
    sys.exit(bool(total["foreign"] or (total["changed"] and not given.edited)))


if __name__ == "__main__":
    main()
