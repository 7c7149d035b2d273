"""Blocks that hand on what was computed elsewhere, in place of computing it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from lightadapt.anatomy.forwards import put_forward


@contextmanager
def watching(blocks: Sequence[nn.Module]) -> Iterator[list[tuple[int, Any]]]:
    """The numbers of the blocks as they run inside a `with` block, with what they give."""
    seen: list[tuple[int, Any]] = []

    def note(number: int, block: nn.Module, args: Any, output: Any) -> None:
        seen.append((number, output))

    with ExitStack() as stack:
        for number, block in enumerate(blocks):
            stack.callback(block.register_forward_hook(partial(note, number)).remove)
        yield seen


@contextmanager
def standing_in(blocks: Sequence[nn.Module], forms: Sequence[int], hidden: Any = None) -> Iterator[None]:
    """Inside a `with` block, let these blocks give what they are given, and the last of them hidden states.

    Args:
        forms: of what each block gives, see `form_of`.
        hidden: `(B, T, width)`, or whatever the last one is to give; None: it, too, gives what it is given.
    """
    with ExitStack() as stack:
        for number, (block, form) in enumerate(zip(blocks, forms, strict=True)):
            given = hidden if number == len(blocks) - 1 else None
            stack.callback(put_forward(block, partial(_stand_in, given, form)))
        yield


@contextmanager
def evaluating(modules: Iterable[nn.Module]) -> Iterator[None]:
    """These modules in evaluation mode inside a `with` block, and each as it was behind it."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def hidden_of(output: Any) -> Tensor:
    """The hidden states among what a block gives."""
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden


def form_of(output: Any) -> int:
    """How many values a block gives; 0 for a tensor alone."""
    return len(output) if isinstance(output, tuple) else 0


def hands_on_more(output: Any) -> bool:
    """Whether a block gives more than hidden states, such as attention weights."""
    return isinstance(output, tuple) and any(each is not None for each in output[1:])


def outside(model: nn.Module, blocks: Sequence[nn.Module]) -> list[nn.Module]:
    """The modules of a model that are not in these blocks: embeddings, pooling, the head."""
    inner, found, rest = {id(block) for block in blocks}, [], [model]
    while rest:
        module = rest.pop()
        if id(module) not in inner:
            found.append(module)
            rest += module.children()
    return found


def _stand_in(hidden: Any, form: int, *args: Any, **options: Any) -> Any:
    """What a block gives that computes nothing."""
    given = next(iter((*args, *options.values()))) if hidden is None else hidden
    return (given, *[None] * (form - 1)) if form else given
