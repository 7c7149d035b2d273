"""A seeded sample data set: messages to the support desk of an invented web shop, all our own text.

Each record has one intent and marked entities, so the same messages serve classification and tagging.
Held-out rule: every split has its own templates, and nearly all slots of validation and test are filled
with names, products, places, dates and numbers that train never draws, so memorised wording does not win.

The grammar's tables are in `lightadapt.sample.tables`, those of the Chinese one in `lightadapt.sample.chinese`.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

from lightadapt.errors import LightAdaptError
from lightadapt.sample import chinese, tables
from lightadapt.sample.tables import INTENTS, TEMPLATES

__all__ = ["INTENTS", "LANGUAGES", "SPLITS", "TEMPLATES", "records", "write"]

LANGUAGES: dict[str, ModuleType] = {"en": tables, "zh": chinese}
"""The languages of the messages, and the tables of each."""
SPLITS = ("train", "validation", "test")
RECORDS_PER_INTENT = {"train": 100, "validation": 20, "test": 30}

KNOWN_FILLER_SHARE = 0.05


def records(split: str, seed: int = 0, *, language: str = "en") -> list[dict[str, Any]]:
    """The utterances of one split, the same ones for the same seed on every machine.

    Args:
        split: `"train"`, `"validation"` or `"test"`.
        seed: of the random draws.
        language: `"en"` or `"zh"`; intents and entity types are the same in both.

    Raises:
        LightAdaptError: there is no such split or language.
    """
    if split not in SPLITS:
        raise LightAdaptError(f"Unknown split {split!r}. Splits: {', '.join(SPLITS)}")
    if language not in LANGUAGES:
        raise LightAdaptError(f"Unknown language {language!r}. Languages: {', '.join(LANGUAGES)}")
    grammar = LANGUAGES[language]
    rng = Random(f"{seed} {split}")
    seen: set[str] = set()
    found = []
    for intent, templates in grammar.TEMPLATES[split].items():
        for number in range(RECORDS_PER_INTENT[split]):
            record = _utterance(rng, grammar, split, intent, templates[number % len(templates)])
            while record["text"].lower() in seen:
                record = _utterance(rng, grammar, split, intent, templates[number % len(templates)])
            seen.add(record["text"].lower())
            found.append(record)
    rng.shuffle(found)
    return found


def write(folder: str | Path, seed: int = 0, *, language: str = "en") -> dict[str, Path]:
    """The path of each split's JSON-lines file in `folder`, written unless it is there with equal content."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {split: folder / f"{split}.jsonl" for split in SPLITS}
    for split, path in paths.items():
        lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records(split, seed, language=language)]
        content = "".join(lines).encode("utf-8")
        if not path.is_file() or path.read_bytes() != content:
            _replace(path, content)
    return paths


def _replace(path: Path, content: bytes) -> None:
    """`path` holds `content` whole, never half of it, even if the process dies on the way."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _utterance(rng: Random, grammar: ModuleType, split: str, intent: str, template: str) -> dict[str, Any]:
    """One record drawn from `template`, framed and sometimes made informal."""
    wording = _framed(rng, grammar, _expand(rng, template))
    if rng.random() < 0.3:
        wording = _informal_chinese(wording) if grammar is chinese else _informal(rng, wording)
    text, entities = _filled(rng, grammar, split, wording)
    if rng.random() < 0.15:
        text = text.lower()
    return {"text": text, "label": intent, "entities": entities}


def _expand(rng: Random, pattern: str) -> str:
    """`pattern` with every alternative chosen, the innermost first."""
    while "[" in pattern:
        pattern = re.sub(r"\[([^\[\]]*)\]", lambda group: rng.choice(group[1].split("|")), pattern)
    return pattern


def _framed(rng: Random, grammar: ModuleType, body: str) -> str:
    """`body` with an optional opener and an optional closer or signature."""
    opener = _expand(rng, grammar.OPENERS)
    # "Hi, where is" but "Hi, I need" and "Hi, {PERSON} said".
    if opener and body[0].isupper() and body[1].islower():
        body = body[0].lower() + body[1:]
    # A signature next to a person in the body would leave open who is writing.
    closers = grammar.CLOSERS if "{PERSON}" in body else grammar.CLOSERS + grammar.SIGNATURES
    # "Please cancel it. Please help." would say please twice.
    asks, asks_again = grammar.POLITE
    polite = asks in body.lower()
    fitting: list[str] = [closer for closer in closers if not (polite and asks_again in closer)]
    return f"{opener}{body}{rng.choice(fitting)}"


def _informal(rng: Random, wording: str) -> str:
    """`wording` with shorthand, one typing slip outside the slots, and no full stop at the end."""
    words = [tables.SHORTHAND.get(word, word) for word in wording.split(" ")]
    long_words = [place for place, word in enumerate(words) if word.isalpha() and len(word) > 4]
    if long_words and rng.random() < 0.5:
        place = rng.choice(long_words)
        word = words[place]
        cut = rng.randrange(1, len(word) - 2)
        words[place] = word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]
    return " ".join(words).rstrip(".!")


def _informal_chinese(wording: str) -> str:
    """`wording` with shorthand, spaces in the place of commas, and no full stop at the end."""
    for usual, hasty in chinese.SHORTHAND.items():
        wording = wording.replace(usual, hasty)
    return wording.rstrip("。！ ")


def _filled(rng: Random, grammar: ModuleType, split: str, wording: str) -> tuple[str, list[dict[str, Any]]]:
    """The text of `wording` with its slots filled, and the entities those slots became."""
    text = ""
    entities = []
    for place, piece in enumerate(re.split(r"\{(\w+)\}", wording)):
        if place % 2 == 0:
            text += piece
            continue
        surface = _filler(rng, grammar, split, piece)
        label = grammar.ENTITY_OF_SLOT.get(piece, piece)
        entities.append({"start": len(text), "end": len(text) + len(surface), "label": label})
        text += surface
    return text, entities


def _filler(rng: Random, grammar: ModuleType, split: str, slot: str) -> str:
    """A surface form for `slot`, now and then one that train knows too."""
    source = "train" if rng.random() < KNOWN_FILLER_SHARE else split
    filler = _expand(rng, grammar.FILLERS[source][slot])
    return re.sub("@", lambda _: str(rng.randrange(1, 10)), filler)
