"""Replies in a conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lightadapt.tasks.encoding.messages import FOR_TEMPLATE
from lightadapt.tasks.generation import Generation


@dataclass(frozen=True)
class Dialogue(Generation):
    """`messages` (a chat whose assistant is learned), or `source` + `target`: what was said and the reply.

    >>> Dialogue().headline
    'bleu'
    """

    name: ClassVar[str] = "dialogue"
    fields: ClassVar[tuple[str, ...]] = ("messages", "source", "target", *FOR_TEMPLATE)
    answer_fields: ClassVar[tuple[str, ...]] = ("target",)
    headline: ClassVar[str] = "bleu"
    greater_is_better: ClassVar[bool] = True
    source_field: ClassVar[str] = "source"
    target_field: ClassVar[str] = "target"
    metrics: ClassVar[tuple[str, ...]] = ("bleu", "rougeL", "chrf", "loss", "perplexity")
    separator: ClassVar[str] = "\n"
