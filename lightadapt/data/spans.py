"""Entity spans: read from tags of any scheme, written as tags, found in text, decoded from scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntFlag, auto
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import regex

# One word is a run of letters, digits and marks; scripts that write no spaces go character by character,
# and so does everything else that is not white space.
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_JOINERS = "\u200c\u200d"  # zero-width, inside words of Persian or Hindi and inside emoji
_WORD = regex.compile(
    rf"[{UNSPACED}]\p{{M}}*|[[\p{{L}}\p{{N}}][\p{{L}}\p{{N}}\p{{M}}{_JOINERS}]--[{UNSPACED}]]+|(?!\s)\X", regex.V1
)


class Span(NamedTuple):
    """An entity: `[start, end)` in words or characters, and its type."""

    start: int
    end: int
    label: str


def split_words(text: str) -> list[tuple[int, int]]:
    """The words of a text as `[start, end)` in characters."""
    return [match.span() for match in _WORD.finditer(text)]


def read_tags(tags: Sequence[str]) -> list[Span]:
    """The entities of a tag sequence in BIO, IOB1 or BIOES (also BILOU).

    One rule reads them all. An entity begins at B and S (U), and at any other tag that does not continue the
    one before it (another type, or nothing open); it ends behind S, E (L) and where the next does not continue.
    """
    spans: list[Span] = []
    open_label = ""
    for position, tag in enumerate(tags):
        prefix, _, label = tag.partition("-")
        if prefix == "O":
            open_label = ""
            continue
        if prefix in "IEL" and label == open_label:
            spans[-1] = spans[-1]._replace(end=position + 1)
        else:
            spans.append(Span(position, position + 1, label))
        open_label = "" if prefix in "SUEL" else label
    return spans


class Signs(IntFlag):
    """What tags show of the scheme that they follow; some of it stands together in no scheme."""

    CLOSED = auto()
    """An E, L, S or U, with which BIOES and BILOU close an entity."""
    UNCLOSED = auto()
    """An entity that none of these closes, as in BIO and IOB1."""
    BEGUN = auto()
    """A B behind anything but an entity of its type, where IOB1 has I."""
    UNBEGUN = auto()
    """An entity that begins with I, E or L, as in IOB1."""


def signs_of(tags: Sequence[str]) -> Signs:
    """What a tag sequence shows of its scheme, by the rule of `read_tags`."""
    signs, open_label = Signs(0), ""
    for tag in (*tags, "O"):
        prefix, _, label = tag.partition("-")
        goes_on = prefix in "IEL" and label == open_label
        if open_label and not goes_on:
            signs |= Signs.UNCLOSED
        if prefix in "SUEL":
            signs |= Signs.CLOSED
        if prefix == "B" and label != open_label:
            signs |= Signs.BEGUN
        if prefix in "IEL" and not goes_on:
            signs |= Signs.UNBEGUN
        open_label = "" if prefix in "OSUEL" else label
    return signs


def write_tags(spans: Sequence[Span], length: int) -> list[str]:
    """The spans as BIO (IOB2) tags over `length` positions."""
    tags = ["O"] * length
    for start, end, label in spans:
        tags[start:end] = [f"B-{label}"] + [f"I-{label}"] * (end - start - 1)
    return tags


def overlapping(spans: Sequence[Span]) -> Iterator[tuple[Span, Span]]:
    """Neighbouring pairs of spans that share a position."""
    ordered = sorted(spans)
    for before, after in pairwise(ordered):
        if after.start < before.end:
            yield before, after


def transitions(tags: Sequence[str]) -> np.ndarray:
    """`(K + 1, K)`: 0 where tag j may follow tag i, minus infinity where not; the last row is the start.

    In BIO only B-X and I-X may come before I-X.
    """
    allowed = np.zeros((len(tags) + 1, len(tags)))
    for column, tag in enumerate(tags):
        prefix, _, label = tag.partition("-")
        if prefix == "I":
            before = [row for row, other in enumerate(tags) if other in (f"B-{label}", tag)]
            allowed[:, column] = -np.inf
            allowed[before, column] = 0.0
    return allowed


def best_tags(log_probabilities: np.ndarray, allowed: np.ndarray) -> list[int]:
    """The most probable valid tag sequence (Viterbi, 1967).

    Args:
        log_probabilities: `(N, K)`, one row a word.
        allowed: `(K + 1, K)` from `transitions`.
    """
    length = len(log_probabilities)
    if not length:
        return []
    score = log_probabilities[0] + allowed[-1]
    came_from = np.zeros((length, len(score)), dtype=int)
    for position in range(1, length):
        candidates = score[:, None] + allowed[:-1]  # (K before, K now)
        came_from[position] = candidates.argmax(0)
        score = candidates.max(0) + log_probabilities[position]
    path = [int(score.argmax())]
    for position in range(length - 1, 0, -1):
        path.append(int(came_from[position, path[-1]]))
    return path[::-1]
