"""spaCy: what its training data is as JSON, and its own file of documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from lightadapt.data.formats.format import Format, Wanted, has_dicts, is_text
from lightadapt.data.formats.spans import entity_of, one_of
from lightadapt.data.records import Record, Records
from lightadapt.errors import DataError, shown
from lightadapt.numbers import is_number

SUFFIX = ".spacy"
HOLDS = 0.5
"""From this value on a category of a text holds."""


class SpaCy(Format):
    """`[text, {"entities": …, "cats": …}]`, or the articles with paragraphs of version 2.

    `entities` are `[start, end, label]`, and `cats` is `{label: value}`.
    """

    name: ClassVar[str] = "spaCy"
    signs: ClassVar[tuple[str, ...]] = ("entities", "cats", "paragraphs", "sentences", "tokens")
    gives: ClassVar[frozenset[str]] = frozenset(("entities", "label", "labels"))

    def fits(self, item: Any) -> bool:
        if isinstance(item, (list, tuple)) and len(item) == 2 and is_text(item[0]):
            return isinstance(item[1], Mapping) and bool({"entities", "cats"} & set(item[1]))
        return isinstance(item, Mapping) and has_dicts(item.get("paragraphs"), "sentences")

    def convert(self, item: Any, wanted: Wanted, notes: Counter[str]) -> list[Record]:
        if not isinstance(item, Mapping):
            return [_record(item[0], item[1].get("entities"), item[1].get("cats"), wanted)]
        if "entities" not in wanted.fields:
            return [
                _record(paragraph.get("raw"), None, _as_values(paragraph.get("cats")), wanted)
                for paragraph in item["paragraphs"]
            ]
        return [found for paragraph in item["paragraphs"] for found in _sentences(paragraph["sentences"], wanted)]


def _record(text: Any, entities: Any, cats: Any, wanted: Wanted) -> Record:
    if not wanted.labelled:
        return {"text": text}
    if "entities" in wanted.fields:
        return {"text": text, "entities": [] if entities is None else list(map(entity_of, entities))}
    if not isinstance(cats, Mapping) or not all(map(is_number, cats.values())):
        raise DataError(f"cats is {shown(cats)}, but {{label: 0 or 1}} is needed for this task.")
    names = [name for name, value in cats.items() if value >= HOLDS]
    return {"text": text, **({"labels": names} if "labels" in wanted.fields else {"label": one_of(names, "text")})}


def _as_values(cats: Any) -> Any:
    """Categories as `{label: value}`, which version 2 wrote as a list of dicts."""
    return {each["label"]: each["value"] for each in cats} if has_dicts(cats, "label", "value") else cats


def _sentences(sentences: Any, wanted: Wanted) -> Iterator[Record]:
    for sentence in sentences:
        tokens = sentence.get("tokens") if isinstance(sentence, Mapping) else None
        if not has_dicts(tokens, "orth"):
            raise DataError(f"the sentence {shown(sentence)} has no tokens with 'orth'.")
        assert isinstance(tokens, list)
        words = {"tokens": [token["orth"] for token in tokens]}
        if not wanted.labelled:
            yield words
            continue
        tags = [token.get("ner", "-") for token in tokens]
        if "-" in tags:
            raise DataError(
                f"the token {shown(words['tokens'][tags.index('-')])} has no entity tag (spaCy writes -), so it is not "
                "known whether it is of an entity. Tag it, with O where it is not."
            )
        yield {**words, "tags": tags}


def read_documents(path: Path) -> Records:
    """The documents of a .spacy file, each with its text, its entities and its categories.

    Raises:
        DataError: the package is not installed, or the file is none of its own.
    """
    try:
        import spacy
        from spacy.tokens import DocBin
    except ImportError as error:
        raise DataError(
            f"{path} holds documents of spaCy, which only the package spacy can read: pip install spacy. Or write them "
            "as JSON lines: {'text': doc.text, 'entities': [[e.start_char, e.end_char, e.label_] for e in doc.ents]}."
        ) from error
    try:
        documents = list(DocBin().from_disk(path).get_docs(spacy.blank("xx").vocab))
    except Exception as error:  # of what the package reads it with
        raise DataError(f"{path} is not a readable file of spaCy ({type(error).__name__}: {error}).") from error
    items: Any = [
        (
            document.text,
            {
                "entities": [(each.start_char, each.end_char, each.label_) for each in document.ents],
                "cats": dict(document.cats),
            },
        )
        for document in documents
    ]
    return Records(items, str(path), form="documents")
