"""What an adapted model prints about itself."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import nn


def describe_parameters(model: nn.Module, head: Collection[str], trainable: Collection[str]) -> dict[str, str]:
    """How much is trained, and the memory of the weights by number format."""
    total = trained = in_head = 0
    sizes: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        count = parameter.numel()
        total += count
        trained += count if name in trainable else 0
        in_head += count if name in head else 0
        kind = str(parameter.dtype).removeprefix("torch.")
        sizes[kind] = sizes.get(kind, 0) + count * parameter.element_size()
    share = f"{100 * trained / total:.3g}%"
    return {
        "trainable": f"{trained:,} of {total:,} parameters ({share}), {in_head:,} of them in the head",
        "memory": ", ".join(f"{size / 2**20:,.1f} MiB {kind}" for kind, size in sizes.items()),
    }


def describe_labels(labels: Sequence[str | int] | None) -> str:
    """The number of labels, and the first of them."""
    if labels is None:
        return "labels not known yet"
    shown = ", ".join(map(str, labels[:8])) + (", …" if len(labels) > 8 else "")
    return f"{len(labels)} {'label' if len(labels) == 1 else 'labels'}: {shown}"


def brief(value: object) -> str:
    """The value as text, cut to one line."""
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def as_rows(facts: dict[str, str]) -> str:
    """The facts, one a line, in two columns."""
    width = max(map(len, facts)) + 1
    return "\n".join(f"{name:<{width}} {value}" for name, value in facts.items())
