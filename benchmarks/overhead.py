"""Where a step of `fit` goes: forward, backward and optimizer, and what Trainer and lightadapt do around them.

python benchmarks/overhead.py [--task ner] [--method lora] [--steps 60] [--threads 1] [--profile] [--base-dropout]

The model is the MiniLM of `lightadapt[demo]`, the records are the package's own sample, and the clocks are set inside a
real `fit`: at Trainer's callbacks, at the model's forward, and around the backward and the clipping of gradients. The
table has milliseconds a step of the CPU and on the wall, and shares of the CPU's; the aim is less than 5 % for what is
neither arithmetic nor the forming of batches. `--profile` adds the kinds of operations, from torch's profiler over a
further run: matrix products with a side of at most `THIN` are those of LoRA.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from command import command, set_up
from data_sets import find_encoder
from measuring import both_clocks
from transformers import TrainerCallback

import lightadapt as la
from lightadapt import sample
from lightadapt.experiments import markdown

PARTS = {
    "batch": "batch: fetch, collate",
    "forward": "forward",
    "backward": "backward",
    "clip": "clip gradients",
    "optimizer": "optimizer",
    "rest": "Trainer, accelerate, lightadapt",
}
WARM = 5
"""Steps at the start that are not counted."""
THIN = 64
KINDS = {
    "dropout": ("bernoulli", "dropout"),
    "gelu and other activations": ("gelu", "relu", "silu", "tanh"),
    "attention": ("bmm", "softmax", "flash", "attention"),
    "layer norm": ("layer_norm",),
    "optimizer, clipping": ("adam", "_norm"),
    "add, multiply": ("add", "mul", "div", "sum"),
    "copies, allocations": ("copy", "empty", "to", "zero", "fill", "clone", "cat"),
}
"""Words in the name of an operation; the first kind that fits counts."""


class Clocks(TrainerCallback):
    """Seconds of each part of a step, on the wall and of the CPU, since the steps that are not counted."""

    def __init__(self) -> None:
        self.spent: dict[str, tuple[float, float]] = {}
        self.last = (0.0, 0.0)
        self.steps = 0

    def mark(self, part: str) -> None:
        """Count the time since the last mark to this part."""
        now = both_clocks()
        wall, cpu = self.spent.get(part, (0.0, 0.0))
        self.spent[part] = (wall + now[0] - self.last[0], cpu + now[1] - self.last[1])
        self.last = now

    def around(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time counted to this part."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            self.mark("rest")
            result = function(*args, **kwargs)
            self.mark(part)
            return result

        return timed

    @contextmanager
    def set(self, model: torch.nn.Module) -> Iterator[None]:
        """Set the clocks in this model's forward, in the backward, and where gradients are clipped."""
        begin = model.register_forward_pre_hook(lambda *_: self.mark("rest"))
        end = model.register_forward_hook(lambda *_: self.mark("forward"))
        backward = self.around("backward", torch.Tensor.backward)
        clip = self.around("clip", torch.nn.utils.clip_grad_norm_)
        try:
            with (
                patch.object(torch.Tensor, "backward", backward),
                patch.object(torch.nn.utils, "clip_grad_norm_", clip),
            ):
                yield
        finally:
            begin.remove()
            end.remove()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clocks."""
        self.last = both_clocks()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The batch is there."""
        self.mark("batch")

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The optimizer is next."""
        self.mark("rest")

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The optimizer is done."""
        self.mark("optimizer")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The step is done."""
        self.mark("rest")
        self.steps += 1
        if state.global_step == WARM:
            self.spent, self.steps = {}, 0


def train(adapted: la.Adapted, steps: int, callbacks: list[Any], *, base_dropout: bool) -> None:
    """Train for so many steps."""
    args = {"max_steps": steps, "disable_tqdm": True}
    adapted.fit(sample.records("train"), callbacks=callbacks, base_dropout=base_dropout, args=args)


def as_table(clocks: Clocks) -> str:
    """The parts of a step as Markdown."""
    parts = {title: clocks.spent.get(part, (0.0, 0.0)) for part, title in PARTS.items()}
    whole, total = (1000 * sum(column) / clocks.steps for column in zip(*parts.values(), strict=True))
    milliseconds = {
        title: (1000 * wall / clocks.steps, 1000 * cpu / clocks.steps) for title, (wall, cpu) in parts.items()
    }
    rows = [(title, f"{cpu:.1f}", f"{cpu / total:.1%}", f"{wall:.1f}") for title, (wall, cpu) in milliseconds.items()]
    head = ["part of a step", "ms of the CPU", "share", "ms on the wall"]
    return markdown.as_table(head, [*rows, ("all", f"{total:.1f}", "", f"{whole:.1f}")])


def kind_of(name: str, shapes: list[Any]) -> str:
    """What an operation is for."""
    if name in ("aten::mm", "aten::addmm", "aten::addmm_"):
        sides = [side for shape in shapes[-2:] if len(shape) == 2 for side in shape]
        sides = sides or [side for shape in shapes if len(shape) == 2 for side in shape]
        return "thin matrices (LoRA, head)" if sides and min(sides) <= THIN else "frozen matrices"
    return next((kind for kind, words in KINDS.items() if any(word in name for word in words)), "other")


def profile(adapted: la.Adapted, steps: int, *, base_dropout: bool) -> str:
    """The kinds of operations as Markdown."""
    from torch.profiler import ProfilerActivity

    with torch.profiler.profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
        train(adapted, steps, [], base_dropout=base_dropout)
    spent: dict[str, float] = {}
    for event in found.key_averages(group_by_input_shape=True):
        if event.key.startswith("aten::"):
            kind = kind_of(event.key, event.input_shapes)
            spent[kind] = spent.get(kind, 0.0) + event.self_cpu_time_total
    total = sum(spent.values())
    ordered = sorted(spent, key=spent.__getitem__, reverse=True)
    return markdown.as_table(["operations", "share"], [(kind, f"{spent[kind] / total:.1%}") for kind in ordered])


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = command(__doc__, steps=60, threads=1, model=None)
    parser.add_argument("--task", choices=("ner", "classification"), default="ner")
    parser.add_argument("--method", default="lora")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--base-dropout", action="store_true", help="keep dropout on in the frozen part, too")
    options = parser.parse_args(arguments)
    set_up(options.threads)
    adapted = la.adapt(options.model or find_encoder(), options.task, options.method, device="cpu")
    clocks = Clocks()
    with clocks.set(adapted.model):
        train(adapted, options.steps + WARM, [clocks], base_dropout=options.base_dropout)
    print(as_table(clocks))
    if options.profile:
        print("\n" + profile(adapted, min(options.steps, 20), base_dropout=options.base_dropout))


if __name__ == "__main__":
    main()
