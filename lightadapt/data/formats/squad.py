"""SQuAD: articles with paragraphs with questions, as its files nest them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

from lightadapt.data.formats.format import Format, Wanted
from lightadapt.data.records import Record
from lightadapt.errors import DataError, shown


class SQuAD(Format):
    """`title` and `paragraphs`, each with a `context` and its `qas`; one record a question."""

    name: ClassVar[str] = "SQuAD"
    signs: ClassVar[tuple[str, ...]] = ("paragraphs", "context", "qas")
    gives: ClassVar[frozenset[str]] = frozenset(("answers",))
    mixes: ClassVar[bool] = True

    def fits(self, item: Any) -> bool:
        return isinstance(item, Mapping) and "paragraphs" in item

    def convert(self, item: Any, wanted: Wanted, notes: Counter[str]) -> list[Record]:
        found: list[Record] = []
        for paragraph in _list("paragraphs", item["paragraphs"]):
            if not isinstance(paragraph, Mapping) or "qas" not in paragraph:
                raise DataError("a paragraph without 'qas'. It is not a SQuAD article.")
            for question in _list("qas", paragraph["qas"]):
                if not isinstance(question, Mapping):
                    raise DataError(f"'qas' holds {shown(question)}, not a dict with 'question' and 'answers'.")
                found.append({"context": paragraph.get("context"), **question})
        return found


def _list(name: str, value: Any) -> list[Any]:
    if callable(getattr(value, "tolist", None)) and bool(getattr(value, "ndim", 0)):  # of a frame from parquet
        return list(value.tolist())
    if not isinstance(value, (list, tuple)):
        raise DataError(f"{name} is {shown(value)} ({type(value).__name__}), not a list.")
    return list(value)
