"""What an adapted model prints about itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence


def describe_parameters(sizes: Mapping[str, int], head: Collection[str], trainable: Collection[str]) -> str:
    """How much is trained, of parameters of these sizes."""
    total, trained, in_head = (sum(sizes[name] for name in names) for names in (sizes, trainable, head))
    share = f"{100 * trained / total:.3g}%"
    return f"{trained:,} of {total:,} parameters ({share}), {in_head:,} of them in the head"


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
