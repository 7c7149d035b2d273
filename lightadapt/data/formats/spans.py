"""Marked parts of texts, and what ties two of them, in the shapes that annotation tools give them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightadapt.data.records import Record
from lightadapt.errors import DataError, shown

TYPES = ("label", "type", "labels")
"""Names under which a tool says what kind a relation is of."""


def entity_of(entry: Any) -> Any:
    """A marked part as `{"start", "end", "label"}`, with what else it has; what is none of these forms as it is.

    `[start, end, label]` is that of doccano and spaCy, `start_offset` and `end_offset` are doccano's other names, and
    `labels` with one label is Label Studio's.

    >>> entity_of([0, 5, "PER"])
    {'start': 0, 'end': 5, 'label': 'PER'}
    """
    if isinstance(entry, (list, tuple)) and len(entry) == 3:
        return dict(zip(("start", "end", "label"), entry, strict=True))
    if not isinstance(entry, Mapping):
        return entry
    found = dict(entry)
    for other, name in (("start_offset", "start"), ("end_offset", "end")):
        if other in found and name not in found:
            found[name] = found.pop(other)
    labels = found.get("labels")
    if "label" not in found and isinstance(labels, (list, tuple)) and len(labels) == 1:
        found["label"] = labels[0]
    return found


def is_triple(entry: Any) -> bool:
    """Whether an entry is `[start, end, label]`."""
    if not isinstance(entry, (list, tuple)) or len(entry) != 3:
        return False
    return all(isinstance(each, int) for each in entry[:2]) and isinstance(entry[2], str)


def related(text: str, entities: Iterable[Any], relations: Any, *, labelled: bool) -> list[Record]:
    """One record a relation of a document: its text with `head`, `tail` and `label`.

    Pairs that nobody has tied are none of them.

    Args:
        entities: with an `id` each.
        relations: with `from_id` and `to_id`, and what kind it is of in one of `TYPES`.

    Raises:
        DataError: there is no list of relations, or one of them names a part that is not there.
    """
    if not isinstance(relations, (list, tuple)):
        raise DataError("it has entities, but no relations between them, which this task needs.")
    places = {each.get("id"): each for each in map(entity_of, entities) if isinstance(each, Mapping)}
    return [_related(text, places, relation, labelled=labelled) for relation in relations]


def _related(text: str, places: Mapping[Any, Any], relation: Any, *, labelled: bool) -> Record:
    ends = [relation.get(name) for name in ("from_id", "to_id")] if isinstance(relation, Mapping) else [None, None]
    missing = next((end for end in ends if not isinstance(end, (int, str)) or end not in places), "")
    if missing != "":
        raise DataError(
            f"the relation {shown(relation)} names the entity {shown(missing)}, which is not there. Entities: "
            f"{shown(list(places))}."
        )
    head, tail = ([places[end].get("start"), places[end].get("end")] for end in ends)
    found = {"text": text, "head": head, "tail": tail}
    return found | {"label": kind_of(relation)} if labelled else found


def kind_of(relation: Mapping[str, Any]) -> Any:
    """What kind a relation is of.

    Raises:
        DataError: it has several.
    """
    kind = next((relation[name] for name in TYPES if relation.get(name) is not None), None)
    if not isinstance(kind, (list, tuple)):
        return kind
    return one_of(kind, "relation")


def one_of(names: Sequence[Any], what: str) -> Any:
    """The only one of these names.

    Raises:
        DataError: there is none, or there are several.
    """
    if len(names) != 1:
        raise DataError(
            f"the {what} has {len(names)} labels ({shown(list(names))}), but one is needed. Leave one, or use the task "
            "'multilabel' where a text has any number of them."
            if what == "text"
            else f"the {what} has {len(names)} labels ({shown(list(names))}), but one is needed. Leave one."
        )
    return names[0]
