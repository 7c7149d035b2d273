"""Prodigy: a task a line, with the decision of who looked at it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from lightadapt.data.formats.format import Format, Wanted, is_text
from lightadapt.data.formats.spans import kind_of, one_of
from lightadapt.data.records import Record
from lightadapt.errors import DataError, listed, shown

HASHES = ("_input_hash", "_task_hash")
ANSWERS = ("accept", "reject", "ignore")
CONTENT = ("spans", "accept", "options", "label", "tokens", "relations")
"""Fields in which a task has what is decided on."""
LEFT_OUT = "answered with reject or ignore are left out"


class Prodigy(Format):
    """JSON lines: `text` with `spans`, `accept`, `label` or `relations`; only what was accepted is learned."""

    name: ClassVar[str] = "Prodigy"
    signs: ClassVar[tuple[str, ...]] = ("text", "spans", "accept", "answer", *HASHES)
    gives: ClassVar[frozenset[str]] = frozenset(("entities", "head", "label", "labels"))

    def fits(self, item: Any) -> bool:
        if not isinstance(item, Mapping) or not is_text(item.get("text")) or "entities" in item or "head" in item:
            return False
        if any(name in item for name in HASHES):
            return True
        answer = item.get("answer")
        return isinstance(answer, str) and answer in ANSWERS and any(name in item for name in CONTENT)

    def convert(self, item: Any, wanted: Wanted, notes: Counter[str]) -> list[Record]:
        text = item["text"]
        if not wanted.labelled and "head" not in wanted.fields:
            return [{"text": text}]
        if wanted.labelled and item.get("answer", "accept") != "accept":
            notes[LEFT_OUT] += 1
            return []
        if "head" in wanted.fields:
            return [_related(item, each, labelled=wanted.labelled) for each in _list(item, "relations")]
        if "entities" in wanted.fields:
            return [{"text": text, "entities": [_entity(item, span) for span in _list(item, "spans")]}]
        names = _names(item)
        return [
            {"text": text, **({"labels": names} if "labels" in wanted.fields else {"label": one_of(names, "text")})}
        ]


def _list(item: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = item.get(name)
    if value is None and name == "relations":
        raise DataError(f"it has no relations, which this task needs. Fields there: {listed(item)}.")
    if not isinstance(value, (list, tuple, type(None))):
        raise DataError(f"{name} is {shown(value)} ({type(value).__name__}), not a list.")
    return value or ()


def _names(item: Mapping[str, Any]) -> list[Any]:
    """The labels of the text as a whole: those accepted of its options, or the one that was asked about."""
    if item.get("accept") is not None:
        return list(_list(item, "accept"))
    if item.get("label") is not None:
        return [item["label"]]
    raise DataError(f"it has neither 'accept' nor 'label', one of which this task needs. Fields there: {listed(item)}.")


def _entity(item: Mapping[str, Any], span: Any) -> dict[str, Any]:
    start, end = _place(item, span)
    return {"start": start, "end": end, "label": span.get("label")}


def _place(item: Mapping[str, Any], span: Any) -> list[int]:
    """Where a span is in the text, in characters; its tokens say it where it does not, the last one being included."""
    if not isinstance(span, Mapping):
        raise DataError(f"the span {shown(span)} is not a dict with 'start', 'end' and 'label'.")
    if span.get("start") is not None and span.get("end") is not None:
        return [span["start"], span["end"]]
    tokens = _list(item, "tokens")
    try:
        return [tokens[span["token_start"]]["start"], tokens[span["token_end"]]["end"]]
    except (LookupError, TypeError) as error:
        raise DataError(
            f"the span {shown(span)} has neither 'start' and 'end' in characters nor 'token_start' and 'token_end' "
            f"within its {len(tokens)} tokens."
        ) from error


def _related(item: Mapping[str, Any], relation: Any, *, labelled: bool) -> Record:
    if not isinstance(relation, Mapping):
        raise DataError(f"the relation {shown(relation)} is not a dict with 'head', 'child' and 'label'.")
    head, tail = (
        _place(
            item, relation.get(f"{name}_span") or {"token_start": relation.get(name), "token_end": relation.get(name)}
        )
        for name in ("head", "child")
    )
    found = {"text": item["text"], "head": head, "tail": tail}
    return found | {"label": kind_of(relation)} if labelled else found
