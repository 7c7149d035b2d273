"""What a tokenizer cannot read of the texts: the model neither learns nor answers from it, and no score says why."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import regex

from lightadapt.data.spans import UNSPACED
from lightadapt.errors import LightAdaptError, shown, warn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from lightadapt.tasks.encoding.features import Feature

MOST_TEXTS, MOST_CHARACTERS = 200, 100
"""Texts that are looked at, evenly spread, and characters of each from its start: a few milliseconds."""
PLAINLY = 64
"""Examples up to which their features are asked first."""
LEAST_LETTERS = 2
"""A single letter is a symbol more often than a language."""
LOST, STRIPPED, BROKEN = 0.1, 0.2, 0.4
"""Shares of the letters above which a warning is due: those that are lost, those that lose their marks, and those that
are lost or broken. `benchmarks/legibility.py` measures what is usual."""
NOTHING_LEFT = 0.9
"""The share of lost letters above which there is nothing to learn from."""
CHARACTER_LEVEL = 0.1
"""The share of pieces with several letters below which a vocabulary is one of single characters, by design."""
BESIDE = ("role", "settings", "tokens")
"""Fields of examples that hold no text of their own."""
LOSSES = ("unknown", "dropped")
BREAKS = ("split", "spelt")

_LETTERS = regex.compile(r"(?:\p{L}\p{M}*)+")
"""A run of letters; digits, signs and emoji, which no vocabulary has all of, tell nothing of a language."""
_SPACED = regex.compile(rf"[\p{{L}}--[{UNSPACED}\p{{Hangul}}\p{{ASCII}}]]", regex.V1)
"""A letter that seldom is a word or syllable by itself. Capitals of ASCII may well be spelt, but are known to all."""
_BYTE = regex.compile("<0x[0-9A-F]{2}>")
"""How sentence pieces write a byte of what they have no piece for."""
_MARKERS = "▁Ġ"
"""What tokenizers write for the space before a word."""
_asked: WeakKeyDictionary[PreTrainedTokenizerBase, tuple[int, dict[str, bool]]] = WeakKeyDictionary()
"""The size of each tokenizer, and of the letters that it was asked for whether it drops them."""


class Legibility(NamedTuple):
    """How a tokenizer reads the letters of some texts.

    The kinds of letters that it reads otherwise than within a piece of a word: `unknown` become the unknown token,
    `dropped` leave no token, `stripped` lose an accent or vowel sign, `split` become several tokens (bytes, mostly),
    and `spelt` become a token each in a script whose words have several letters.
    """

    letters: int
    counts: Mapping[str, int]
    examples: Mapping[str, str]
    """The longest word with letters of each kind."""
    texts: int
    lost_texts: int
    """The texts most of whose letters are unknown or dropped."""

    def share(self, *kinds: str) -> float:
        """The letters of these kinds, of all."""
        return sum(self.counts.get(kind, 0) for kind in kinds) / max(1, self.letters)

    def complaint(self) -> str | None:
        """The kind of letters to warn of; None where there are no more of any than usual."""
        found = {kind: self.counts.get(kind, 0) for kind in (*LOSSES, "stripped", *BREAKS)}
        if sum(found.values()) < LEAST_LETTERS:
            return None
        if self.share(*LOSSES) > LOST or self.lost_texts > max(2, LOST * self.texts):
            return max(LOSSES, key=found.__getitem__)
        if self.share(*LOSSES, *BREAKS) > BROKEN:
            return max(BREAKS, key=found.__getitem__)
        return "stripped" if self.share("stripped") > STRIPPED else None


def check_legible(
    examples: Sequence[Any], answer_fields: Collection[str], tokenizer: PreTrainedTokenizerBase, *, refuse: bool
) -> None:
    """Warn when a part of the texts cannot be read, of which the tokenizer's own language would be free.

    Args:
        answer_fields: fields of the examples that no tokenizer reads.
        refuse: raise where nearly nothing can be read.

    Raises:
        LightAdaptError: with `refuse`, hardly a letter is left to learn from.
    """
    found = legibility(sample_texts(examples, answer_fields), tokenizer)
    kind = found.complaint()
    if kind is None or (kind in BREAKS and _is_character_level(tokenizer)):
        return
    message = f"{_sentence(found, kind, tokenizer)} {_ADVICE}"
    if refuse and found.share(*LOSSES) > NOTHING_LEFT:
        raise LightAdaptError(f"Hardly anything is left to learn from. {message}")
    warn(message)


def is_read_whole(examples: Sequence[Any], features: Sequence[Feature], tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the features of a few examples in ASCII show that all of their letters are read; costs next to nothing.

    False: `check_legible` has to look more closely.
    """
    if len(examples) > PLAINLY or not all(map(str.isascii, texts := sample_texts(examples))):
        return False
    unknown = tokenizer.unk_token_id
    if unknown is not None and any(unknown in feature.inputs.get("input_ids", (unknown,)) for feature in features):
        return False
    return not _dropped_letters(texts, tokenizer)


def sample_texts(examples: Sequence[Any], answer_fields: Collection[str] = ()) -> list[str]:
    """The beginnings of some texts in the examples, evenly spread over all of these."""
    left_out = {*answer_fields, *BESIDE}
    step = -(-len(examples) // MOST_TEXTS) or 1
    found: list[str] = []
    for index in range(0, len(examples), step):
        found += (text[:MOST_CHARACTERS] for text in _texts_in(examples[index], left_out))
    return found[:: -(-len(found) // MOST_TEXTS) or 1]


def _texts_in(value: Any, left_out: Collection[str]) -> Iterator[str]:
    """All texts in an example, whatever it is made of."""
    if isinstance(value, str):
        yield value
        return
    named: Mapping[Any, Any] = {}
    if isinstance(value, Mapping):
        named = value
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        named = dict(zip(value._fields, value, strict=True))
    elif dataclasses.is_dataclass(value):
        named = vars(value)
    elif isinstance(value, (list, tuple)):
        named = dict(enumerate(value))
    for name, each in named.items():
        if name not in left_out:
            yield from _texts_in(each, left_out)


def legibility(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> Legibility:
    """How the tokenizer reads the letters of the texts."""
    texts = [text for text in texts if _LETTERS.search(text)]
    letters, lost_texts = 0, 0
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    dropped = _dropped_letters(texts, tokenizer)
    for text, unknown, broken in zip(texts, *_tokenized(texts, tokenizer), strict=True):
        here: Counter[str] = Counter()
        if text.isascii() and not any(unknown) and not dropped:
            letters += sum(map(str.isalpha, text))
            continue
        size = 0
        for word in _LETTERS.finditer(text):
            size += len(word[0])
            for kind, count in _of_word(word, unknown, broken, dropped, tokenizer).items():
                here[kind] += count
                if count and len(word[0]) > len(examples.get(kind, "")):
                    examples[kind] = word[0]
        letters += size
        lost_texts += 2 * sum(here[kind] for kind in LOSSES) > size
        counts += here
    return Legibility(letters, counts, examples, len(texts), lost_texts)


def _of_word(
    word: regex.Match[str], unknown: bytes, broken: bytes, dropped: Collection[str], tokenizer: PreTrainedTokenizerBase
) -> dict[str, int]:
    """The letters of a word by kind; each is of one kind, but for its marks."""
    start, end = word.span()
    found = {"unknown": unknown.count(1, start, end)}
    if dropped:
        found["dropped"] = sum(word.string[place] in dropped and not unknown[place] for place in range(start, end))
    if not word[0].isascii() and not found["unknown"]:
        found["split"] = broken.count(2, start, end)
        found["spelt"] = sum(
            broken[place] == 1 and bool(_SPACED.match(word.string, place)) for place in range(start, end)
        )
        found["stripped"] = _stripped_marks(word[0], tokenizer)
    return found


def _dropped_letters(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """The letters and marks of the texts for which the tokenizer has no token at all.

    Each is asked for alone, and once: where a tokenizer leaves something out, the offsets of all that follows may be
    wrong.
    """
    letters = set("".join(_LETTERS.findall("\n".join(texts))))
    size, known = _asked.get(tokenizer, (0, {}))
    if size != len(tokenizer):  # it has learned tokens meanwhile, or was never asked
        known = {}
        _asked[tokenizer] = len(tokenizer), known
    fresh = sorted(letters - known.keys())
    if fresh:
        rows = tokenizer(fresh, add_special_tokens=False, verbose=False)["input_ids"]
        tokens = (tokenizer.convert_ids_to_tokens(row) for row in rows)
        known.update((letter, not "".join(mine).strip(_MARKERS)) for letter, mine in zip(fresh, tokens, strict=True))
    return {letter for letter in letters if known[letter]}


def _tokenized(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> tuple[list[bytes], list[bytes]]:
    """For each text two rows, a number for each character: 1 where it is unknown; 1 where it is a token, 2 several."""
    if not texts:
        return [], []
    batch, unknown_id = tokenizer(list(texts), add_special_tokens=False, verbose=False), tokenizer.unk_token_id
    unknown, broken = [], []
    for number, (text, row) in enumerate(zip(texts, batch["input_ids"], strict=True)):
        mine, alone = bytearray(len(text)), bytearray(len(text))
        if batch.encodings is None:  # a slow tokenizer knows no offsets: as many letters are unknown as tokens are
            size = len(text) * row.count(unknown_id) // max(1, len(row))
            mine[:size] = b"\1" * size
        elif not text.isascii() or unknown_id in row:
            _mark(batch.encodings[number], unknown_id, mine, alone)
        unknown.append(bytes(mine))
        broken.append(bytes(alone))
    return unknown, broken


def _mark(encoding: Any, unknown_id: int | None, unknown: bytearray, broken: bytearray) -> None:
    for token_id, token, (start, end) in zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True):
        if token_id == unknown_id:
            unknown[start:end] = b"\1" * (end - start)
        elif _BYTE.fullmatch(token):  # of which each may claim all of a longer run
            broken[start:end] = b"\2" * (end - start)
        elif token not in _MARKERS and end - start == 1:
            broken[start] = min(2, broken[start] + 1)


def _stripped_marks(word: str, tokenizer: PreTrainedTokenizerBase) -> int:
    """The accents and vowel signs that the tokenizer takes off the letters of a word."""
    normalizer = tokenizer.backend_tokenizer.normalizer if tokenizer.is_fast else None
    return max(0, _marks(word) - _marks(normalizer.normalize_str(word))) if normalizer else 0


def _marks(text: str) -> int:
    return sum(unicodedata.category(each)[0] == "M" for each in unicodedata.normalize("NFD", text))


def _is_character_level(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether nearly all pieces of the vocabulary have one letter, as where each character or byte is a token."""
    pieces = [piece.strip(_MARKERS).removeprefix("##") for piece in tokenizer.get_vocab()]
    several = sum(len(piece) > 1 and piece.isalpha() for piece in pieces)
    return bool(several < CHARACTER_LEVEL * len(pieces))


_ADVICE = (
    "Choose a base that was trained on the language of the texts, or a multilingual one: docs/languages.md says how to "
    "try its tokenizer."
)


def _read(word: str, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The tokens as the model sees them: `tokenize` would show the text where one is unknown."""
    row = tokenizer(word, add_special_tokens=False, verbose=False)["input_ids"]
    tokens: list[str] = tokenizer.convert_ids_to_tokens(row)
    return tokens


def _sentence(found: Legibility, kind: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """What the tokenizer does to the letters of a kind, with the figure and a word as example."""
    word = found.examples[kind][:12]
    tokens = [token for token in _read(word, tokenizer) if token.strip(_MARKERS)]
    read_as = " ".join(tokens[:6]) + (" …" if len(tokens) > 6 else "")
    lost = f"{found.share(*LOSSES):.0%} of the letters in these texts"
    if kind in LOSSES and found.share(*LOSSES) <= LOST:
        lost = f"most letters of {found.lost_texts} texts, of {found.texts} that were looked at"
    return {
        "unknown": f"The tokenizer does not know {lost}"
        # A word may be unknown for what it stands beside only, as x in x².
        + (f": it reads {shown(word)} as {read_as}." if tokenizer.unk_token in tokens else "."),
        "dropped": f"The tokenizer leaves out {lost}: of {shown(word)} it reads {read_as or 'nothing'}.",
        "stripped": f"The tokenizer takes {found.counts['stripped']:,} accents or vowel signs off {found.letters:,} "
        f"letters: it reads {shown(word)} as {read_as}.",
        "split": f"The tokenizer has no pieces for {found.share(*LOSSES, *BREAKS):.0%} of the letters and cuts them "
        f"into bytes: {shown(word)} becomes {len(tokens)} tokens. The model has hardly seen this language.",
        "spelt": f"The tokenizer spells {found.share(*LOSSES, *BREAKS):.0%} of the letters one by one: {shown(word)} "
        f"becomes {len(tokens)} tokens. The model has hardly seen this language.",
    }[kind]
