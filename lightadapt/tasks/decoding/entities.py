"""Entities from the scores of tags: the most probable sequence of tags that means something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lightadapt.data.spans import Span, best_tags, read_tags
from lightadapt.tasks.decoding.probabilities import log_softmax
from lightadapt.tasks.encoding.alignment import Words, words_inside
from lightadapt.tasks.encoding.entities import span_of_groups


class Entity(NamedTuple):
    """A predicted span in characters, with its probability."""

    span: Span
    score: float


def decode_entities(
    words: Words,
    borders: Words | None,
    scores: Mapping[tuple[int, int], np.ndarray],
    outputs: Sequence[str],
    allowed: np.ndarray,
) -> list[Entity]:
    """The entities of an example from the scores `(K,)` of its groups of words `(first, end)`.

    Args:
        words: `[start, end)` of each word in characters.
        borders: the same of each token; entities then are whole tokens, whose words decide together.
        allowed: `(K + 1, K)` from `transitions`.
    """
    groups = sorted(scores)
    if not groups:
        return []
    log_probabilities = log_softmax(np.stack([scores[group] for group in groups]), -1)  # (N, K)
    starts = _unit_starts([(words[first][0], words[end - 1][1]) for first, end in groups], borders)
    # Within a unit, what begins with B-X goes on with I-X.
    going_on = log_probabilities[:, _continuations(outputs)]
    going_on[starts] = log_probabilities[starts]
    path = best_tags(np.add.reduceat(going_on, starts, axis=0), allowed)
    ends = [*starts[1:], len(groups)]
    chosen = np.exp(going_on[np.arange(len(groups)), np.repeat(path, np.subtract(ends, starts))])
    entities = []
    for start, end, label in read_tags([outputs[tag] for tag in path]):
        first, behind = starts[start], ends[end - 1]
        span = span_of_groups(words, groups[first], groups[behind - 1], borders)
        entities.append(Entity(Span(*span, label), float(chosen[first:behind].mean())))
    return entities


def _unit_starts(spans: Sequence[tuple[int, int]], borders: Words | None) -> list[int]:
    """The spans that begin a unit of what is decided: each of them, or the first one in a token."""
    if borders is None:
        return list(range(len(spans)))
    starts, reached = [], 0
    for number, (start, end) in enumerate(spans):
        token, behind = words_inside(borders, start, end)
        if token >= reached:
            starts.append(number)
        reached = max(reached, behind)
    return starts


def _continuations(outputs: Sequence[str]) -> list[int]:
    """For each tag the one that goes on with it: I-X for B-X and I-X, O for O."""
    place = {tag: number for number, tag in enumerate(outputs)}
    return [place[f"I{tag[1:]}" if tag[0] == "B" else tag] for tag in outputs]
