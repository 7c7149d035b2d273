"""Entities from the scores of tags: the most probable sequence of tags that means something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lightadapt.data.spans import Span, best_tags, read_tags
from lightadapt.tasks.decoding.probabilities import log_softmax
from lightadapt.tasks.encoding.entities import EntityExample


class Entity(NamedTuple):
    """A predicted span in characters, with its probability."""

    span: Span
    score: float


def decode_entities(
    example: EntityExample, scores: Mapping[tuple[int, int], np.ndarray], outputs: Sequence[str], allowed: np.ndarray
) -> list[Entity]:
    """The entities of an example from the scores `(K,)` of its groups of words `(first, end)`."""
    groups = sorted(scores)
    if not groups:
        return []
    log_probabilities = log_softmax(np.stack([scores[group] for group in groups]), -1)  # (N, K)
    path = best_tags(log_probabilities, allowed)
    chosen = np.exp(log_probabilities[np.arange(len(path)), path])
    entities = []
    for start, end, label in read_tags([outputs[tag] for tag in path]):
        span = Span(example.words[groups[start][0]][0], example.words[groups[end - 1][1] - 1][1], label)
        entities.append(Entity(span, float(chosen[start:end].mean())))
    return entities
