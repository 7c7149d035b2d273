"""The best answer in a window of the context, from the scores of starts and ends."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lightadapt.tasks.decoding.probabilities import log_softmax
from lightadapt.tasks.encoding.windows import ContextWindow

BEST = 20
"""Starts and ends of a window that are tried with each other."""


class Answer(NamedTuple):
    """The best answer in the context, with its probability, and how much better "no answer" is."""

    start: int
    end: int
    score: float
    no_answer: float
    """Probability that the context does not answer the question."""
    margin: float
    """Log probability of no answer less that of the answer."""


def best_answer(window: ContextWindow, logits: np.ndarray, longest: int) -> Answer:
    """The most probable span of a window: p(start) p(end), over the tokens of the context and "nowhere"."""
    positions = np.array([window.nowhere, *window.offsets])
    log_p = log_softmax(logits[positions], 0)  # (N, 2)
    no_answer = float(np.exp(log_p[0].sum()))
    if len(positions) == 1:
        return Answer(0, 0, 0.0, no_answer, 0.0)
    log_p, positions = log_p[1:], positions[1:]
    starts, ends = (np.argsort(-log_p[:, side], kind="stable")[:BEST] for side in (0, 1))
    both = log_p[starts, 0][:, None] + log_p[ends, 1][None, :]
    length = positions[ends][None, :] - positions[starts][:, None] + 1
    both[(length < 1) | (length > longest)] = -np.inf
    if np.isinf(both.max()):  # none of the best goes together: the best token alone
        alone = int(log_p.sum(1).argmax())
        chosen, value = (alone, alone), float(log_p[alone].sum())
    else:
        row, column = np.unravel_index(both.argmax(), both.shape)
        chosen, value = (int(starts[row]), int(ends[column])), float(both.max())
    start, end = (int(positions[place]) for place in chosen)
    return Answer(window.offsets[start][0], window.offsets[end][1], float(np.exp(value)), no_answer, 0.0)
