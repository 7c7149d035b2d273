"""doccano: texts with labels of their own, with marked parts, or with relations between these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

from lightadapt.data.formats.format import Format, Wanted, has_dicts, is_text
from lightadapt.data.formats.spans import entity_of, is_triple, one_of, related
from lightadapt.data.records import Record
from lightadapt.errors import DataError, shown

TEXTS = ("text", "data")
"""The field of the text, in this order of versions."""
LABELS = ("label", "labels")


class Doccano(Format):
    """JSON lines: `label` holds `[start, end, label]`, or names; or `entities` with offsets, and `relations`."""

    name: ClassVar[str] = "doccano"
    signs: ClassVar[tuple[str, ...]] = ("id", "text", "label", "entities", "relations")
    gives: ClassVar[frozenset[str]] = frozenset(("entities", "head", "label", "labels", "target"))

    def fits(self, item: Any) -> bool:
        if not isinstance(item, Mapping) or not any(is_text(item.get(name)) for name in TEXTS):
            return False
        entities, relations = item.get("entities"), item.get("relations")
        if has_dicts(entities, "start_offset", "end_offset"):
            return True
        if isinstance(entities, list) and isinstance(relations, list) and "head" not in item:
            return not relations or has_dicts(relations, "from_id", "to_id")
        label = _labels(item)
        if not isinstance(label, (list, tuple)):
            return False
        if all(map(is_triple, label)):
            return bool(label) or "label" in item
        return "label" in item and "id" in item and all(map(is_text, label))

    def takes(self, item: Any) -> bool:
        if self.fits(item):
            return True
        return isinstance(item, Mapping) and any(is_text(item.get(name)) for name in TEXTS) and _labels(item) == []

    def convert(self, item: Any, wanted: Wanted, notes: Counter[str]) -> list[Record]:
        text = next(item[name] for name in TEXTS if is_text(item.get(name)))
        entities = item.get("entities")
        found = list(_labels(item) or ()) if entities is None else list(entities)
        spans = entities is not None or all(map(is_triple, found))
        if "head" in wanted.fields:
            return related(text, found, item.get("relations"), labelled=wanted.labelled)
        if not wanted.labelled:
            return [{"text": text, "source": text} if "source" in wanted.fields else {"text": text}]
        if "entities" in wanted.fields:
            if not spans:
                raise DataError(f"it labels its text as a whole ({shown(found)}), but this task needs marked parts.")
            return [{"text": text, "entities": [entity_of(each) for each in found]}]
        if spans and found:
            raise DataError(
                f"it marks parts of its text ({shown(found)}), but this task needs a label of the text as a whole."
            )
        if "target" in wanted.fields:
            return [{"source": text, "target": found}]
        return [
            {"text": text, **({"labels": found} if "labels" in wanted.fields else {"label": one_of(found, "text")})}
        ]


def _labels(item: Mapping[str, Any]) -> Any:
    return next((item[name] for name in LABELS if item.get(name) is not None), None)
