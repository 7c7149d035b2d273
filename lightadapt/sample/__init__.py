"""A seeded sample data set: messages to the support desk of an invented web shop, all our own text.

Each record has one intent and marked entities, so the same messages serve classification and tagging.
Held-out rule: every split has its own templates, and nearly all slots of validation and test are filled
with names, products, places, dates and numbers that train never draws, so memorised wording does not win.

The grammar's tables are in `lightadapt.sample.tables`.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from lightadapt.errors import LightAdaptError
from lightadapt.sample.tables import (
    CLOSERS,
    ENTITY_OF_SLOT,
    FILLERS,
    INTENTS,
    OPENERS,
    SHORTHAND,
    SIGNATURES,
    TEMPLATES,
)

__all__ = ["INTENTS", "SPLITS", "TEMPLATES", "records", "write"]

SPLITS = ("train", "validation", "test")
RECORDS_PER_INTENT = {"train": 100, "validation": 20, "test": 30}

KNOWN_FILLER_SHARE = 0.05


def records(split: str, seed: int = 0) -> list[dict[str, Any]]:
    """The utterances of one split, the same ones for the same seed on every machine."""
    if split not in SPLITS:
        raise LightAdaptError(f"Unknown split {split!r}. Splits: {', '.join(SPLITS)}")
    rng = Random(f"{seed} {split}")
    seen: set[str] = set()
    found = []
    for intent, templates in TEMPLATES[split].items():
        for number in range(RECORDS_PER_INTENT[split]):
            record = _utterance(rng, split, intent, templates[number % len(templates)])
            while record["text"].lower() in seen:
                record = _utterance(rng, split, intent, templates[number % len(templates)])
            seen.add(record["text"].lower())
            found.append(record)
    rng.shuffle(found)
    return found


def write(folder: str | Path, seed: int = 0) -> dict[str, Path]:
    """The path of each split's JSON-lines file in `folder`, written unless it is there with equal content."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {split: folder / f"{split}.jsonl" for split in SPLITS}
    for split, path in paths.items():
        lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records(split, seed)]
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


def _utterance(rng: Random, split: str, intent: str, template: str) -> dict[str, Any]:
    """One record drawn from `template`, framed and sometimes made informal."""
    wording = _framed(rng, _expand(rng, template))
    if rng.random() < 0.3:
        wording = _informal(rng, wording)
    text, entities = _filled(rng, split, wording)
    if rng.random() < 0.15:
        text = text.lower()
    return {"text": text, "label": intent, "entities": entities}


def _expand(rng: Random, pattern: str) -> str:
    """`pattern` with every alternative chosen, the innermost first."""
    while "[" in pattern:
        pattern = re.sub(r"\[([^\[\]]*)\]", lambda group: rng.choice(group[1].split("|")), pattern)
    return pattern


def _framed(rng: Random, body: str) -> str:
    """`body` with an optional opener and an optional closer or signature."""
    opener = _expand(rng, OPENERS)
    # "Hi, where is" but "Hi, I need" and "Hi, {PERSON} said".
    if opener and body[0].isupper() and body[1].islower():
        body = body[0].lower() + body[1:]
    # A signature next to a person in the body would leave open who is writing.
    closers = CLOSERS if "{PERSON}" in body else CLOSERS + SIGNATURES
    # "Please cancel it. Please help." would say please twice.
    polite = "please" in body.lower()
    return opener + body + rng.choice([closer for closer in closers if not (polite and "help" in closer)])


def _informal(rng: Random, wording: str) -> str:
    """`wording` with shorthand, one typing slip outside the slots, and no full stop at the end."""
    words = [SHORTHAND.get(word, word) for word in wording.split(" ")]
    long_words = [place for place, word in enumerate(words) if word.isalpha() and len(word) > 4]
    if long_words and rng.random() < 0.5:
        place = rng.choice(long_words)
        word = words[place]
        cut = rng.randrange(1, len(word) - 2)
        words[place] = word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]
    return " ".join(words).rstrip(".!")


def _filled(rng: Random, split: str, wording: str) -> tuple[str, list[dict[str, Any]]]:
    """The text of `wording` with its slots filled, and the entities those slots became."""
    text = ""
    entities = []
    for place, piece in enumerate(re.split(r"\{(\w+)\}", wording)):
        if place % 2 == 0:
            text += piece
            continue
        surface = _filler(rng, split, piece)
        label = ENTITY_OF_SLOT.get(piece, piece)
        entities.append({"start": len(text), "end": len(text) + len(surface), "label": label})
        text += surface
    return text, entities


def _filler(rng: Random, split: str, slot: str) -> str:
    """A surface form for `slot`, now and then one that train knows too."""
    source = "train" if rng.random() < KNOWN_FILLER_SHARE else split
    filler = _expand(rng, FILLERS[source][slot])
    return re.sub("@", lambda _: str(rng.randrange(1, 10)), filler)
