"""Entities of records, as spans of a text, and the tags of words that a model learns them by."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lightadapt.data.reading import TAG, Records
from lightadapt.data.spans import Span, overlapping, read_tags, split_words, write_tags
from lightadapt.errors import DataError
from lightadapt.numbers import is_whole
from lightadapt.tasks.encoding.alignment import Words, WordWindow, words_inside
from lightadapt.tasks.encoding.features import IGNORED
from lightadapt.tasks.encoding.fields import as_list, check_characters, required


class EntityExample(NamedTuple):
    """A text with its entities; tokens are joined by spaces, so that one path serves both forms."""

    text: str
    entities: list[Span]
    """In characters."""
    tokens: list[str] | None
    """The tokens of a record that came as tokens; its predictions are in tokens."""

    @property
    def borders(self) -> Words | None:
        """`[start, end)` of each token in characters, where entities begin and end; None for a text."""
        return None if self.tokens is None else _token_places(self.tokens)

    def words(self, *, split: bool) -> Words:
        """`[start, end)` of each word in characters; `split` says whether tokens are split as their text would be."""
        return split_words(self.text) if split or self.tokens is None else _token_places(self.tokens)


def read_tokens(records: Records, index: int, *, labelled: bool) -> EntityExample:
    """The example of a record with tokens, checked; with `labelled` also its tags."""
    item, place = records.items[index], records.place(index)
    if isinstance(item["tokens"], str):
        raise DataError(
            f"{place}: tokens is the text {item['tokens'][:40]!r}. Give a list of tokens, or the field 'text' with "
            "'entities'."
        )
    tokens = as_list(place, "tokens", item["tokens"])
    if not tokens:
        raise DataError(f"{place}: tokens is empty. Remove the record.")
    wrong = [token for token in tokens if not isinstance(token, str)]
    if wrong:
        raise DataError(f"{place}: the token {wrong[0]!r} is a {type(wrong[0]).__name__}, but a text is expected.")
    if "" in tokens:
        raise DataError(f"{place}: token {tokens.index('')} is empty. Remove it, and its tag.")
    for token in tokens:
        check_characters(place, "tokens", token)
    if not "".join(tokens).strip():
        raise DataError(f"{place}: tokens hold no text. Remove the record.")
    places = _token_places(tokens)
    spans = read_tags(_checked_tags(records, index, tokens)) if labelled else []
    entities = [Span(places[start][0], places[end - 1][1], label) for start, end, label in spans]
    return EntityExample(" ".join(tokens), entities, tokens)


def _token_places(tokens: Sequence[str]) -> list[tuple[int, int]]:
    places, position = [], 0
    for token in tokens:
        places.append((position, position + len(token)))
        position += len(token) + 1
    return places


def _checked_tags(records: Records, index: int, tokens: Sequence[str]) -> list[str]:
    place = records.place(index)
    tags = as_list(place, "tags", required(records, index, "tags"))
    if len(tags) != len(tokens):
        raise DataError(f"{place}: tags has {len(tags)} items but tokens has {len(tokens)}. Each token needs one tag.")
    for token, tag in zip(tokens, tags, strict=True):
        if isinstance(tag, int):
            raise DataError(
                f"{place}: the tag of {token!r} is the number {tag}. Give names such as 'B-PER' "
                "(a datasets.Dataset whose column is a list of ClassLabel is translated by itself)."
            )
        if not isinstance(tag, str) or not TAG.fullmatch(tag):
            raise DataError(
                f"{place}: {tag!r}, the tag of {token!r}, is no tag of BIO, IOB1 or BIOES. "
                "A tag is O, or a prefix of B I E S, a hyphen and a type: B-PER."
            )
    return tags


def read_entities(records: Records, index: int, text: str) -> list[Span]:
    """The entities of a record with a text, checked, in their order."""
    place = records.place(index)
    if "entities" not in records.items[index]:
        found = ", ".join(map(str, records.items[index]))
        raise DataError(
            f"{place}: the field 'entities' is missing. Fields there: {found}. "
            "Give a list of {'start', 'end', 'label'}; an empty list where there is no entity."
        )
    entries = as_list(place, "entities", required(records, index, "entities"))
    entities = [_read_entity(place, entry, text) for entry in entries]
    for one, other in overlapping(entities):
        raise DataError(
            f"{place}: the entities {text[one.start : one.end]!r} ({one.label}, {one.start}-{one.end}) and "
            f"{text[other.start : other.end]!r} ({other.label}, {other.start}-{other.end}) overlap. Keep one of them."
        )
    return sorted(entities)


def _read_entity(place: str, entry: Any, text: str) -> Span:
    if not isinstance(entry, Mapping) or not {"start", "end", "label"} <= set(entry):
        raise DataError(f"{place}: the entity {entry!r} is not a dict with 'start', 'end' and 'label'.")
    start, end, label = entry["start"], entry["end"], entry["label"]
    if not (is_whole(start) and is_whole(end)):
        raise DataError(f"{place}: the entity {entry!r} has offsets that are not whole numbers (characters).")
    start, end = int(start), int(end)
    if not isinstance(label, str) or not label.strip():
        raise DataError(f"{place}: the entity {entry!r} has no label. Name its type, such as 'PER'.")
    if not 0 <= start < end <= len(text):
        raise DataError(
            f"{place}: the entity {label} has the span {start}-{end}, but its text has {len(text)} characters. "
            "Needed: 0 <= start < end <= length, in characters, end not included."
        )
    if not text[start:end].strip():
        raise DataError(f"{place}: the entity {label} at {start}-{end} is only white space. Correct its offsets.")
    return Span(start, end, label)


def set_tags(
    example: EntityExample, words: Words, windows: Sequence[WordWindow], outputs: Sequence[str]
) -> tuple[int, int]:
    """Write the tags to their positions; how many entities no sub-word shows, and how many change their span."""
    place = {tag: number for number, tag in enumerate(outputs)}
    groups = sorted((first, end) for window in windows for _, first, end in window.words)
    borders = example.borders
    spans: list[Span] = []
    lost = changed = 0
    for start, end, label in example.entities:
        begin, behind = (bisect_left(groups, (word,)) for word in words_inside(words, start, end))
        lost += begin == behind
        # Two entities inside one word: the word can carry the tag of one of them only.
        if begin < behind and (not spans or spans[-1].end <= begin):
            spans.append(Span(begin, behind, label))
            again = span_of_groups(words, groups[begin], groups[behind - 1], borders)
            changed += again != (start, end)
    tags = {first: tag for (first, _), tag in zip(groups, write_tags(spans, len(groups)), strict=True)}
    for window in windows:
        target = [IGNORED] * len(window)
        for position, first, _ in window.words:
            target[position] = place[tags[first]]
        window.targets = {"labels": target}
    return lost, changed


def span_of_groups(
    words: Words, one: tuple[int, int], other: tuple[int, int], borders: Words | None
) -> tuple[int, int]:
    """`[start, end)` in characters from one group of words `(first, end)` to another, widened to whole tokens."""
    start, end = words[one[0]][0], words[other[1] - 1][1]
    if borders is None:
        return start, end
    first, behind = words_inside(borders, start, end)
    return borders[first][0], borders[behind - 1][1]
