"""Texts as vectors: what a backbone makes of a batch of them, pooled, and of the words for each label."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from lightadapt.heads.pooling import Pooling, of_length_one, pool
from lightadapt.tasks import Feature, ModelView, Task
from lightadapt.tasks.encoding.texts import TextExample

TEXT = ("input_ids", "attention_mask", "token_type_ids")
"""The inputs that a backbone reads a text from, among those of tasks."""


def vectors_of_batch(
    model: PreTrainedModel,
    task: Task,
    features: Sequence[Feature],
    view: ModelView,
    way: Pooling,
    *,
    accepted: Collection[str] = TEXT,
) -> list[np.ndarray]:
    """Vectors of length one, `(width,)` for each feature; gradients are computed unless the caller says that none are.

    That of a question with choices is the mean over these.

    Args:
        way: how a vector is made of the tokens.
        accepted: the inputs that the model takes.
    """
    given = task.collate([replace(feature, targets={}) for feature in features], view)
    counts = [_rows_of(feature) for feature in features]
    batch = {name: _flat(given[name]).to(model.device) for name in TEXT if name in given and name in accepted}
    backbone: Any = model.get_encoder() if view.family == "encoder-decoder" else model.base_model
    hidden = backbone(**batch).last_hidden_state  # (rows, T, width)
    rows = of_length_one(pool(hidden, batch["attention_mask"], way).cpu().numpy())
    if max(counts) == 1:
        return list(rows)
    # A batch with an axis for choices has rows that are padding, too; else choices follow one another.
    most = max(counts) if given["input_ids"].dim() > 2 else None
    starts = np.arange(len(counts)) * most if most else np.cumsum([0, *counts[:-1]])
    return [of_length_one(rows[start : start + count].mean(0)) for start, count in zip(starts, counts, strict=True)]


def vectors_of_meanings(
    meanings: Sequence[Sequence[str]], vectors_of: Callable[[Sequence[TextExample]], np.ndarray], width: int
) -> np.ndarray:
    """`(K, width)`: the direction of the wordings of each label together, of length one; zeros for one without any.

    Args:
        meanings: the wordings of each label.
        vectors_of: gives the vectors of texts, `(N, width)`.
        width: of a vector.
    """
    texts = [TextExample(wording, None, None) for wordings in meanings for wording in wordings]
    owners = [number for number, wordings in enumerate(meanings) for _ in wordings]
    sums = np.zeros((len(meanings), width), dtype=np.float32)
    if texts:
        np.add.at(sums, owners, vectors_of(texts))
    return of_length_one(sums)


def _rows_of(feature: Feature) -> int:
    """How many sequences a feature is: one, or one for each choice."""
    ids = feature.inputs["input_ids"]
    return len(ids) if isinstance(ids[0], list) else 1


def _flat(values: torch.Tensor) -> torch.Tensor:
    """The rows of a batch `(B, T)`, or of one with an axis for choices `(B, C, T)`."""
    return values.reshape(-1, values.shape[-1])
