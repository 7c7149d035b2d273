"""Label Studio: tasks with their annotations (JSON), or a row for each of them (JSON-MIN, CSV)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from lightadapt.data.formats.format import Format, Wanted, has_dicts, is_text
from lightadapt.data.formats.spans import entity_of, one_of, related
from lightadapt.data.records import Record
from lightadapt.errors import DataError, listed, shown
from lightadapt.numbers import is_number

LISTS = ("annotations", "completions")
"""Where a task has its annotations, in this order of versions."""
BESIDE = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "inner_id", "project", "history")
"""Columns of a row that are neither data nor answers."""
WITHOUT = "without an annotation are left out"
SEVERAL = "have several annotations, of which the first is read"
VALUES = ("choices", "rating", "number", "text", "taxonomy")
"""Under which name the value of an answer is kept that is of the text as a whole."""


class LabelStudio(Format):
    """A task: `data` and `annotations`; each field of answers is called as the tag of the interface is.

    Where there are several that could be the answer, `columns={"label": "sentiment"}` says which one it is.
    """

    name: ClassVar[str] = "Label Studio"
    signs: ClassVar[tuple[str, ...]] = ("data", "annotations", "result", "from_name")
    gives: ClassVar[frozenset[str]] = frozenset(("entities", "head", "label", "labels", "target"))

    def fits(self, item: Any) -> bool:
        return isinstance(item, Mapping) and (_is_task(item) or _is_row(item))

    def convert(self, item: Any, wanted: Wanted, notes: Counter[str]) -> list[Record]:
        if not _is_task(item):
            data, answers = _of_row(item)
            return [*_records(data, answers, None, wanted)]
        if not wanted.labelled and "head" not in wanted.fields:
            data = dict(item["data"])
            return [_with_text(data, data, wanted)]
        found: list[Any] = next((item[name] for name in LISTS if isinstance(item.get(name), list)), [])
        found = [each for each in found if isinstance(each, Mapping) and not each.get("was_cancelled")]
        if not found:
            notes[WITHOUT] += 1
            return []
        notes[SEVERAL] += len(found) > 1
        result = found[0].get("result")
        if not isinstance(result, list) or not all(isinstance(each, Mapping) for each in result):
            raise DataError(f"the result of its annotation is {shown(result)}, not a list of dicts.")
        return _records(dict(item["data"]), _answers(result), result, wanted)


def _is_task(item: Mapping[str, Any]) -> bool:
    return isinstance(item.get("data"), Mapping) and any(isinstance(item.get(name), list) for name in LISTS)


def _is_row(item: Mapping[str, Any]) -> bool:
    return "lead_time" in item and ("annotator" in item or "annotation_id" in item)


def _answers(result: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The answers of an annotation by the names of their tags: a list of marked parts, or of values."""
    found: dict[str, list[Any]] = {}
    for each in result:
        value = each.get("value")
        if not isinstance(value, Mapping):  # relations stand apart
            continue
        name = str(each.get("from_name"))
        if "start" in value and not str(each.get("type", "labels")).endswith("labels"):
            continue  # what is said of a marked part, not of the text
        if "start" in value:
            found.setdefault(name, []).append({"id": each.get("id"), **_marked(value)})
        else:
            kind = next((kind for kind in VALUES if kind in value), None)
            if kind is None:
                raise DataError(f"the answer {shown(name)} is of a kind that is not read: {shown(dict(value))}.")
            values = value[kind] if isinstance(value[kind], list) else [value[kind]]
            found.setdefault(name, []).extend(each[-1] if isinstance(each, list) and each else each for each in values)
    return found


def _marked(value: Mapping[str, Any]) -> dict[str, Any]:
    """A marked part of a text."""
    if not all(isinstance(value.get(name), int) for name in ("start", "end")):
        raise DataError(
            f"the part {shown(dict(value))} is not marked in characters of a plain text, but in HTML, in paragraphs or "
            "in time."
        )
    labels: Any = next((value[name] for name in value if name.endswith("labels")), [])
    found = {"start": value["start"], "end": value["end"], "label": one_of(labels, "marked part")}
    return found | ({"text": value["text"]} if isinstance(value.get("text"), str) else {})


def _of_row(item: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The data and the answers of a row, in which only lists are surely answers; a cell of a .csv may hold JSON."""
    data: dict[str, Any] = {}
    answers: dict[str, Any] = {}
    for name, value in item.items():
        if name in BESIDE:
            continue
        value = _parsed(value)
        if has_dicts(value, "start", "end"):
            answers[name] = [_marked(each) for each in value]
        elif isinstance(value, Mapping) and isinstance(value.get("choices"), list):
            answers[name] = value["choices"]
        elif isinstance(value, list) and not has_dicts(value):
            answers[name] = value
        else:
            data[name] = value
    return data, answers


def _parsed(value: Any) -> Any:
    """What a cell of a .csv holds in JSON; a text is a text."""
    if not isinstance(value, str) or value[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _records(
    data: dict[str, Any], answers: dict[str, Any], result: Sequence[Mapping[str, Any]] | None, wanted: Wanted
) -> list[Record]:
    if "head" in wanted.fields:
        return _relations(data, answers, result, wanted)
    parts = {name: values for name, values in answers.items() if _are_parts(values)}
    values = {name: values for name, values in answers.items() if name not in parts}
    record = {**data, **{name: list(map(entity_of, each)) for name, each in parts.items()}}
    record |= {
        name: each[0] if len(each) == 1 and "labels" not in wanted.fields else each for name, each in values.items()
    }
    if result is None:  # a row: the answer may be a plain value beside the text
        values |= {
            name: [value] for name, value in data.items() if value is not None and name != _text_name(data, wanted)
        }
    record = _with_text(record, data, wanted)
    if not wanted.labelled:
        return [record]
    if "entities" in wanted.fields:
        return [_with_answer(record, "entities", parts, [], wanted)]
    if "target" in wanted.fields:
        return [_with_answer(record, "target", values, None, wanted)]
    numbers = {name for name, each in values.items() if all(map(_is_numeric, each))}
    if wanted.numeric or len(numbers) < len(values):  # a rating beside choices is no class
        values = {name: each for name, each in values.items() if (name in numbers) == wanted.numeric}
    if "labels" in wanted.fields:
        return [_with_answer(record, "labels", values, [], wanted)]
    found = _with_answer(record, "label", values, None, wanted)
    if isinstance(found.get("label"), list):
        found["label"] = one_of(found["label"], "text")
    return [found]


def _are_parts(values: Sequence[Any]) -> bool:
    return has_dicts(values, "start", "end")


def _is_numeric(value: Any) -> bool:
    try:
        return is_number(value) or (isinstance(value, str) and float(value) == float(value))
    except ValueError:
        return False


def _with_answer(record: Record, field: str, found: Mapping[str, Any], none: Any, wanted: Wanted) -> Record:
    """The record with the answer that the task needs; the caller may have said which field it is."""
    if field in wanted.named:
        return record
    names = [field] if field in found else list(found)
    if len(names) > 1:
        raise DataError(
            f"{listed(names)} could each be the {field} of this task. Say which: columns={{{shown(field)}: "
            f"{shown(names[0])}}}."
        )
    if not names and none is None:
        raise DataError(f"no answer in it can be the {field} of this task. Fields there: {listed(record)}.")
    return {**record, field: found[names[0]] if names else none}


def _text_name(data: Mapping[str, Any], wanted: Wanted) -> str:
    """The field with the text that was annotated.

    Raises:
        DataError: several could be it, or none.
    """
    field = "source" if "source" in wanted.fields else "text"
    if field in wanted.named:
        return wanted.named[field]
    texts = [name for name, value in data.items() if is_text(value)]
    for name in (field, "text"):
        if name in texts:
            return name
    if len(texts) != 1:
        raise DataError(
            f"its data has {len(texts)} texts ({listed(data)}). Say which is the {field}: columns={{{shown(field)}: "
            f"{shown([*texts, '…'][0])}}}."
        )
    return texts[0]


def _with_text(record: Record, data: Mapping[str, Any], wanted: Wanted) -> Record:
    field = "source" if "source" in wanted.fields else "text"
    return record if field in wanted.named else {**record, field: data[_text_name(data, wanted)]}


def _relations(
    data: dict[str, Any], answers: dict[str, Any], result: Sequence[Mapping[str, Any]] | None, wanted: Wanted
) -> list[Record]:
    if result is None:
        raise DataError("rows (JSON-MIN, CSV) hold no relations. Export the tasks as JSON.")
    parts = [part for values in answers.values() if _are_parts(values) for part in values]
    ties = [_tie(each) for each in result if each.get("type") == "relation"]
    return related(data[_text_name(data, wanted)], parts, ties, labelled=wanted.labelled)


def _tie(relation: Mapping[str, Any]) -> dict[str, Any]:
    """A relation from its head to its tail, which may have been drawn the other way."""
    head, tail = ("to_id", "from_id") if relation.get("direction") == "left" else ("from_id", "to_id")
    labels = relation.get("labels")
    return {
        "from_id": relation.get(head),
        "to_id": relation.get(tail),
        "label": one_of(labels if isinstance(labels, list) else [], "relation"),
    }
