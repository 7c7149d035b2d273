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
    answer_fields: ClassVar[tuple[str, ...]] = ("target",)
    headline: ClassVar[str] = "rouge1"
    greater_is_better: ClassVar[bool] = True
    pipeline: ClassVar[str] = "summarization"
    source_field: ClassVar[str] = "source"
    target_field: ClassVar[str] = "target"
    metrics: ClassVar[tuple[str, ...]] = ("rouge1", "rouge2", "rougeL", "loss", "perplexity")
    separator: ClassVar[str] = "\n"
