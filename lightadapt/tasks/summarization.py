"""A text, said shorter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lightadapt.tasks.generation import Generation


@dataclass(frozen=True)
class Summarization(Generation):
    """`source` + `target`: a text and its summary, or several.

    >>> Summarization(instruction="summarize: ").headline
    'rouge1'
    """

    name: ClassVar[str] = "summarization"
    fields: ClassVar[tuple[str, ...]] = ("source", "target")
    answers: ClassVar[tuple[str, ...]] = ("target",)
    headline: ClassVar[str] = "rouge1"
    greater_is_better: ClassVar[bool] = True
    pipeline: ClassVar[str] = "summarization"
    source: ClassVar[str] = "source"
    target: ClassVar[str] = "target"
    scores: ClassVar[tuple[str, ...]] = ("rouge1", "rouge2", "rougeL", "loss", "perplexity")
    separator: ClassVar[str] = "\n"
