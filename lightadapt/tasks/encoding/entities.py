"""Entities of records, as spans of a text, and the tags of words that a model learns them by."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple
from unicodedata import combining, normalize

from lightadapt.data import Records
from lightadapt.data.conll import TAG
from lightadapt.data.formats.spans import entity_of
from lightadapt.data.spans import Signs, Span, overlapping, read_tags, signs_of, split_words, write_tags
from lightadapt.errors import DataError, listed, shown, unquoted, warn
from lightadapt.numbers import is_whole
from lightadapt.tasks.encoding.alignment import Words, WordWindow, words_inside
from lightadapt.tasks.encoding.features import IGNORED
from lightadapt.tasks.encoding.fields import as_list, check_characters, plain, required

OWN_TEXT = ("text", "word", "mention", "surface")
"""The names under which tools say beside a span what it holds."""


class EntityExample(NamedTuple):
    """A text with its entities; tokens are joined by spaces, so that one path serves both forms."""

    text: str
    entities: list[Span]
    """In characters."""
    tokens: list[str] | None
    """The tokens of a record that came as tokens; its predictions are in tokens."""
    signs: Signs = Signs(0)
    """What its tags show of their scheme."""

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
            f"{place}: tokens is the text {shown(item['tokens'], 40)}. Give a list of tokens, or the field 'text' with "
            "'entities'."
        )
    tokens = as_list(place, "tokens", item["tokens"])
    if not tokens:
        raise DataError(f"{place}: tokens is empty. Remove the record.")
    wrong = [token for token in tokens if not isinstance(token, str)]
    if wrong:
        raise DataError(
            f"{place}, tokens: the token {shown(wrong[0])} is a {type(wrong[0]).__name__}, but a text is expected."
        )
    if "" in tokens:
        raise DataError(f"{place}: token {tokens.index('')} is empty. Remove it, and its tag.")
    for token in tokens:
        check_characters(place, "tokens", token)
    if not "".join(tokens).strip():
        raise DataError(f"{place}: tokens hold no text. Remove the record.")
    places = _token_places(tokens)
    tags = _checked_tags(records, index, tokens) if labelled else []
    entities = [Span(places[start][0], places[end - 1][1], label) for start, end, label in read_tags(tags)]
    return EntityExample(" ".join(tokens), entities, tokens, signs_of(tags))


MIXED = (
    (
        Signs.UNCLOSED,
        Signs.CLOSED,
        "an entity of the tags ends without E, L, S or U, with which one ends in {other}. Two readings: BIO, where it "
        "ends before a tag that does not continue it, or BIOES with a wrong or a missing tag. It is read as the first "
        "one; correct the tags if it is the second.",
    ),
    (
        Signs.UNBEGUN,
        Signs.BEGUN,
        "an entity of the tags begins without B, with which one begins in {other}. Two readings: IOB1, where I begins "
        "an entity, too, or BIO with a wrong or a missing tag. It is read as the first one; correct the tags if it is "
        "the second.",
    ),
)
"""Pairs of signs that no scheme has together, with what is said of records with the first and the second one."""


def warn_of_mixed_schemes(examples: Sequence[EntityExample], records: Records) -> None:
    """Warn of tags that follow two schemes, as a file put together from several does, or a broken one."""
    first: dict[Signs, int] = {}
    count = dict.fromkeys((sign for sign, _, _ in MIXED), 0)
    for index, example in enumerate(examples):
        for sign in Signs if example.signs else ():
            if sign in example.signs:
                first.setdefault(sign, index)
                count[sign] = count.get(sign, 0) + 1
    for sign, other, said in MIXED:
        if sign in first and other in first:
            many = f" (so in {count[sign]:,} records)" if count[sign] > 1 else ""
            place = records.place(first[other])
            said = said.format(other="the same record" if first[sign] == first[other] else f"r{place[1:]}")
            warn(f"{records.place(first[sign])}{many}: {said}")


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
        if is_whole(tag):
            raise DataError(
                f"{place}, tags: the tag of {shown(token)} is the number {shown(tag)}. Give names such as 'B-PER' "
                "(a datasets.Dataset whose column is a list of ClassLabel is translated by itself)."
            )
        if not isinstance(tag, str) or not TAG.fullmatch(tag):
            raise DataError(
                f"{place}, tags: {shown(tag)}, the tag of {shown(token)}, is not a tag of BIO, IOB1 or BIOES. "
                "A tag is O, or a prefix of B I E S, a hyphen and a type: B-PER."
            )
        check_characters(place, "tags", tag)
    return tags


def read_entities(records: Records, index: int, text: str) -> list[Span]:
    """The entities of a record with a text, checked, in their order."""
    place = records.place(index)
    if "entities" not in records.items[index]:
        raise DataError(
            f"{place}: the field 'entities' is missing. Fields there: {listed(records.items[index])}. "
            "Give a list of {'start', 'end', 'label'}; an empty list where there is no entity."
        )
    entries = as_list(place, "entities", required(records, index, "entities"))
    place = f"{place}, entities"
    entities = [_read_entity(place, entry, text) for entry in entries]
    for pair in overlapping(entities):
        one, other = (f"{shown(text[start:end])} ({unquoted(label)}, {start}-{end})" for start, end, label in pair)
        raise DataError(f"{place}: the entities {one} and {other} overlap. Keep one of them.")
    return sorted(entities)


def _read_entity(place: str, entry: Any, text: str) -> Span:
    entry = entity_of(entry)
    if not isinstance(entry, Mapping) or not {"start", "end", "label"} <= set(entry):
        raise DataError(f"{place}: the entity {shown(entry)} is not a dict with 'start', 'end' and 'label'.")
    start, end, label = (plain(entry[name]) for name in ("start", "end", "label"))
    if not (is_whole(start) and is_whole(end)):
        raise DataError(f"{place}: the entity {shown(entry)} has offsets that are not whole numbers (characters).")
    if not isinstance(label, str) or not label.strip():
        raise DataError(f"{place}: the entity {shown(entry)} has no label. Name its type, such as 'PER'.")
    check_characters(place, "label", label)
    name = unquoted(label, 60)
    if not 0 <= start < end <= len(text):
        raise DataError(
            f"{place}: the entity {name} has the span {shown(start)}-{shown(end)}, but its text has {len(text)} "
            "characters. Needed: 0 <= start < end <= length, in characters, end not included."
        )
    if not text[start:end].strip():
        raise DataError(f"{place}: the entity {name} at {start}-{end} is only white space. Correct its offsets.")
    start, end = int(start), int(end)
    _check_own_text(f"{place}: the entity {name}", entry, text, start, end)
    return Span(start, end, label)


def _check_own_text(entity: str, entry: Mapping[str, Any], text: str, start: int, end: int) -> None:
    """Refuse a span that holds another text than the entity says of itself; case, accents and spaces do not count."""
    slip = None if "text" in entry else _misspelt_text(tuple(name for name in entry if isinstance(name, str)))
    if slip is not None:
        raise DataError(
            f"{entity} has the field {shown(slip)}. Did you mean 'text', what its span holds? Rename it, or remove it."
        )
    if not isinstance(entry.get("text"), (str, type(None))):
        raise DataError(
            f"{entity} at {start}-{end} has the text {shown(entry['text'])} ({type(entry['text']).__name__}), but the "
            "text of its span is expected. Correct it, or remove it from the entity."
        )
    own = next((entry[name] for name in OWN_TEXT if isinstance(entry.get(name), str) and entry[name].strip()), None)
    if own is None or _letters(own) == _letters(text[start:end]):
        return
    places = [match.start() for match in islice(re.finditer(re.escape(own.strip()), text), 1_000)]
    nearby = min(places, key=lambda at: abs(at - start), default=None)
    mend = "Correct either"
    if nearby is not None:
        mend = f"It is at {nearby}-{nearby + len(own.strip())}; correct start and end"
    raise DataError(
        f"{entity} says that it is {shown(own)}, but its span {start}-{end} holds {shown(text[start:end])}. {mend} "
        "(characters counted from 0, the end not included)."
    )


@lru_cache(maxsize=256)
def _misspelt_text(names: tuple[str, ...]) -> str | None:
    """The name among those of an entity that is nearly `text`, which would be ignored in silence."""
    return next((name for name in names if get_close_matches(name[:20].lower(), ["text"], cutoff=0.8)), None)


def _letters(text: str) -> str:
    """What of a text tools keep alike that lower its case, strip its accents and join its tokens."""
    return "".join(each for each in normalize("NFKD", text).casefold() if not each.isspace() and not combining(each))


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
