"""Words and sub-words: which position of which window stands for a word."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from lightadapt.tasks.encoding.features import Feature
from lightadapt.tasks.encoding.view import ModelView

Words = Sequence[tuple[int, int]]
"""`[start, end)` of each word of a text, in characters."""


@dataclass
class WordWindow(Feature):
    """A text, or as much of it as the model takes at once."""

    words: list[tuple[int, int, int]] = field(default_factory=list)
    """(position, first, end), where the sub-word at the position stands for the words [first, end); they are several
    when a sub-word reaches over the end of its word."""


def tokenize_windows(texts: Sequence[str], words: Sequence[Words], view: ModelView) -> list[list[WordWindow]]:
    """The windows of each text; each word is given to one window by the position of one of its sub-words.

    That is the first one, as is usual since BERT; in a decoder, where only the last one has seen the whole word, it is
    the last. A text longer than the model takes is cut into windows that overlap by a quarter, and a word goes to the
    window in which it has most context. A word without a sub-word of its own goes with the word whose sub-word
    reaches into it, or is in none when the tokenizer drops it.
    """
    tokenizer, last = view.tokenizer, view.family == "decoder"
    room = view.max_length - tokenizer.num_special_tokens_to_add()
    encoding = tokenizer(
        list(texts),
        truncation=True,
        max_length=view.max_length,
        stride=room // 4,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    owners = encoding.pop("overflow_to_sample_mapping")
    offsets = encoding.pop("offset_mapping")
    specials = encoding.pop("special_tokens_mask")
    windows: list[list[WordWindow]] = [[] for _ in texts]
    starts: list[list[dict[int, tuple[int, int]]]] = [[] for _ in texts]
    for row, owner in enumerate(owners):
        inputs = {name: column[row] for name, column in encoding.items()}
        places = _word_starts(texts[owner], words[owner], offsets[row], specials[row], not windows[owner], last)
        windows[owner].append(WordWindow(inputs, owner))
        starts[owner].append(places)
    for mine, places_of_mine in zip(windows, starts, strict=True):
        _share_words(mine, places_of_mine)
    return windows


def words_inside(words: Words, start: int, end: int) -> tuple[int, int]:
    """The range of words that a span of characters touches; an empty one where it touches none."""
    first = bisect_right(words, start, key=lambda word: word[1])
    return first, max(first, bisect_left(words, end, key=lambda word: word[0]))


def _word_starts(
    text: str, words: Words, offsets: Sequence[tuple[int, int]], specials: Sequence[int], first: bool, last: bool
) -> dict[int, tuple[int, int]]:
    """Where each word has its first (or last) sub-word in a window: `{word: (position, end)}`.

    `end` is the word behind the last one that has no sub-word of its own because the ones before reach into it.
    A word of which the window (other than the first) holds only the rest is left out.
    """
    beginnings = [start for start, _ in words]
    found: dict[int, int] = {}
    covered: set[int] = set()
    cut = None if first else -1
    for position, ((start, end), special) in enumerate(zip(offsets, specials, strict=True)):
        if special:
            continue
        while start < end and text[start].isspace():  # byte-level tokenizers count the space before
            start += 1
        word = bisect_right(beginnings, start) - 1
        if start >= end or word < 0 or start >= words[word][1]:
            continue
        if cut == -1:
            cut = word if start > words[word][0] else None
        if (last or word not in found) and word != cut:
            found[word] = position
        covered.update(range(word + 1, bisect_left(beginnings, end)))
    return {word: (position, _end_of_group(word, covered, found)) for word, position in found.items()}


def _end_of_group(word: int, covered: set[int], found: dict[int, int]) -> int:
    end = word + 1
    while end in covered and end not in found:
        end += 1
    return end


def _share_words(windows: Sequence[WordWindow], starts: Sequence[dict[int, tuple[int, int]]]) -> None:
    """Give each word to the window in which it has most context around it."""
    best: dict[int, tuple[int, int, int, int]] = {}
    for number, (window, places) in enumerate(zip(windows, starts, strict=True)):
        for word, (position, end) in places.items():
            left = position if number else len(window)  # the text's own begin and end cut nothing off
            right = len(window) - position if number < len(windows) - 1 else len(window)
            context = min(left, right)
            if word not in best or context > best[word][0]:
                best[word] = (context, number, position, end)
    ordered = sorted(best.items())
    following = [word for word, _ in ordered[1:]] + [sys.maxsize] * bool(ordered)
    for (word, (_, number, position, end)), behind in zip(ordered, following, strict=True):
        windows[number].words.append((position, word, min(end, behind)))
