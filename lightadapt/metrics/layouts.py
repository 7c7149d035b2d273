"""How a metric keeps its records, and what it accepts as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
from typing import Any, NamedTuple

from datasets import Features, List, Value

from lightadapt.data.spans import Span, read_tags
from lightadapt.errors import LightAdaptError


class Layout(NamedTuple):
    """The columns of the predictions and the references, and the functions that turn what is given into theirs."""

    features: Features
    read_prediction: Callable[[Any], Any]
    read_reference: Callable[[Any], Any]


def _label(given: Any) -> str:
    if not isinstance(given, (str, Integral)):
        raise _unfit(given, "a label: a name or a class number")
    return str(given)


def _labels(given: Any) -> list[str]:
    return [_label(label) for label in _items(given, "a list of labels")]


def _number(given: Any) -> float:
    try:
        return float(given)
    except (TypeError, ValueError) as error:
        raise _unfit(given, "a number") from error


def _entities(given: Any) -> list[dict[str, Any]]:
    items = _items(given, "a list of tags or entities")
    if all(isinstance(item, str) for item in items):
        return [span._asdict() for span in read_tags(items)]
    if not all(isinstance(item, Mapping) and item.keys() >= set(Span._fields) for item in items):
        raise _unfit(given, "a list of tags, or of dicts with start, end and label")
    return [{field: item[field] for field in Span._fields} for item in items]


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise _unfit(given, "a text")
    return given


def _texts(given: Any) -> list[str]:
    return [given] if isinstance(given, str) else [_text(text) for text in _items(given, "a text or a list of texts")]


def _items(given: Any, wanted: str) -> list[Any]:
    if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable):
        raise _unfit(given, wanted)
    return list(given)


def _unfit(given: Any, wanted: str) -> LightAdaptError:
    return LightAdaptError(f"{given!r} is given for one record. Give {wanted}.")


def _alike(feature: Any, read: Callable[[Any], Any]) -> Layout:
    return Layout(Features(predictions=feature, references=feature), read, read)


LAYOUTS = {
    "label": _alike(Value("string"), _label),
    "labels": _alike(List(Value("string")), _labels),
    "number": _alike(Value("float64"), _number),
    "entities": _alike(List({"start": Value("int64"), "end": Value("int64"), "label": Value("string")}), _entities),
    "texts": Layout(Features(predictions=Value("string"), references=List(Value("string"))), _text, _texts),
}
