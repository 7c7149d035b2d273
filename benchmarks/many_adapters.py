"""What it costs when the texts of a batch are for different adapters, against one adapter for all of them.

python benchmarks/many_adapters.py [--texts 32] [--adapters 1,8,32] [--rounds 9] [--threads 1] [--json FILE]

Adaptations of the MiniLM of `lightadapt[demo]`, of the same kind but with weights of their own, answer the same texts.
Sides, which take turns in one process:

- `one`: one adaptation answers all texts; the baseline.
- `mixed`: `predict(texts, adapter=[…])`, all adaptations in one pass.
- `switching`: one call of `predict` for each adaptation.
- `PEFT`: the forward pass of a stock PEFT model with `adapter_names`, without what `predict` does besides; its own
  baseline is the same forward pass with one adapter.

The columns are medians of the CPU's milliseconds, and the ratio to the baseline of the side.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch
from command import command, keep, set_up
from data_sets import find_encoder
from measuring import both_clocks, take_turns
from peft import LoraConfig, get_peft_model
from transformers import AutoModel, AutoTokenizer

import lightadapt as la
from lightadapt.experiments.markdown import Table

WORDS = "the order never came and nobody answers my mail about a refund of last week please help me now"
TABLE = Table(
    "adapters | one, ms | mixed, ms | ratio | switching, ms | ratio | PEFT, ms | ratio",
    "{adapters} | {one:.0f} | {mixed:.0f} | {mixed_ratio:.2f} | {switching:.0f} | {switching_ratio:.2f} | {peft:.0f} | "
    "{peft_ratio:.2f}",
)


def make_texts(count: int) -> list[str]:
    """Texts of 8 to 24 words."""
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS.split(), k=draw.randint(8, 24))) for _ in range(count)]


def stir(parameters: Any) -> None:
    """Move what is trained away from its start."""
    with torch.no_grad():
        for parameter in parameters:
            parameter += 0.05 * torch.randn_like(parameter)


def make_ours(model: str, count: int) -> la.Adapted:
    """So many adaptations of one base."""
    adapted = la.adapt(model, "classification", "lora", labels=["no", "yes"], dtype="float32", device="cpu")
    for number in range(1, count):
        adapted.add(f"a{number}")
    for name in adapted.names:
        stir(each for each in adapted.use(name).model.parameters() if each.requires_grad)
        adapted.runner.adaptation.head.mark_learned()  # else classes are told apart by their names
    return adapted


def make_theirs(model: str, count: int, texts: list[str]) -> Callable[[list[str] | None], Any]:
    """The forward pass of a PEFT model over all texts, by the adapter of each, or all by one."""
    config = LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"])
    peft = get_peft_model(AutoModel.from_pretrained(model), config, adapter_name="default").eval()
    for number in range(1, count):
        peft.add_adapter(f"a{number}", config)
    batch = AutoTokenizer.from_pretrained(model)(texts, padding=True, return_tensors="pt")

    def run(names: list[str] | None) -> Any:
        with torch.no_grad():
            return peft(**batch) if names is None else peft(**batch, adapter_names=names)

    return run


def timed(run: Callable[[], Any]) -> float:
    """Milliseconds of the CPU."""
    before = both_clocks()
    run()
    return 1_000 * (both_clocks()[1] - before[1])


def measure(model: str, count: int, texts: list[str], rounds: int) -> dict[str, Any]:
    """All sides with so many adapters."""
    adapted, theirs = make_ours(model, count), make_theirs(model, count, texts)
    names = [adapted.names[place % count] for place in range(len(texts))]
    mine = {name: [text for text, each in zip(texts, names, strict=True) if each == name] for name in adapted.names}
    sides: dict[str, Callable[[], Any]] = {
        "one": lambda: adapted.predict(texts),
        "mixed": lambda: adapted.predict(texts, adapter=names),
        "switching": lambda: [adapted.predict(each, adapter=name) for name, each in mine.items()],
        "peft_one": lambda: theirs(None),
        "peft": lambda: theirs(names),
    }
    for run in sides.values():
        run()
    runs = take_turns({side: lambda run=run: timed(run) for side, run in sides.items()}, rounds)
    found = {side: statistics.median(each) for side, each in runs.items()}
    ratios = {f"{side}_ratio": found[side] / found["one"] for side in ("mixed", "switching")}
    return {"adapters": count, **found, **ratios, "peft_ratio": found["peft"] / found["peft_one"]}


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table."""
    parser = command(__doc__, rounds=9, threads=1, model=None, json=None)
    parser.add_argument("--texts", type=int, default=32, help="that are answered at once")
    parser.add_argument("--adapters", default="1,8,32", help="numbers with commas between")
    options = parser.parse_args(arguments)
    set_up(options.threads)
    texts, facts = make_texts(options.texts), []
    print(TABLE.head)
    for count in map(int, options.adapters.split(",")):
        facts.append(measure(options.model or find_encoder(), count, texts, options.rounds))
        print(TABLE.row(facts[-1]), flush=True)
    keep(options.json, {str(row["adapters"]): row for row in facts})
    return 0


if __name__ == "__main__":
    sys.exit(main())
