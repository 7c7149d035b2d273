"""What the fields of an unknown form may be: names that others give to the fields of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

ALIASES: Mapping[str, tuple[str, ...]] = {
    "answer": ("label", "correct", "gold", "answer_idx", "answer_key", "answerkey"),
    "answers": ("answer", "answer_text"),
    "choices": ("options", "candidates", "endings"),
    "completion": ("response", "output", "answer", "chosen", "reply", "generation"),
    "context": ("passage", "paragraph", "article", "document"),
    "entities": ("spans", "ents", "annotations", "mentions", "label", "labels", "ner"),
    "head": ("subject", "subj", "e1", "arg1"),
    "label": ("class", "category", "intent", "sentiment", "target", "topic", "gold", "rating", "stars", "score", "y"),
    "labels": ("label", "categories", "classes", "tags", "intents", "topics"),
    "messages": ("conversation", "conversations", "dialog", "dialogue", "chat", "turns"),
    "prompt": ("instruction", "question", "query", "input"),
    "question": ("query",),
    "source": ("src", "input", "document", "article", "text", "dialogue"),
    "tags": ("ner_tags", "ner", "labels", "iob", "bio", "tag"),
    "tail": ("object", "obj", "e2", "arg2"),
    "target": ("tgt", "summary", "translation", "output", "reference", "highlights", "response"),
    "text": ("sentence", "content", "body", "review", "comment", "tweet", "message", "utterance", "document", "input"),
    "text_pair": ("sentence2", "text2", "hypothesis", "text_b"),
    "tokens": ("words", "token", "form"),
}


def columns_for(name: str, needed: Sequence[str], item: Mapping[Any, Any]) -> dict[str, str]:
    """`{field: column}` for a missing field and the others that a record lacks; empty where nothing is like it.

    Args:
        name: the field that is missing.
        needed: all fields of the task.

    >>> columns_for("text", ("text", "text_pair", "label"), {"txt": "a", "intent": "b"})
    {'text': 'txt', 'label': 'intent'}
    """
    found: dict[str, str] = {}
    for field in (name, *needed):
        if field in found or item.get(field) is not None:
            continue
        free = [column for column in item if isinstance(column, str) and column not in {*needed, *found.values()}]
        column = next((column for column in free if _may_be(column.lower()[:40], field)), None)
        if column is not None:
            found[field] = column
    return found if name in found else {}


def _may_be(column: str, field: str) -> bool:
    return column in ALIASES.get(field, ()) or bool(get_close_matches(column, [field], cutoff=0.75))
