"""The records that a model gets most wrong, as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightadapt.display import html
from lightadapt.errors import shown

LONGEST = 160
"""Characters of a text that are printed; the dict has all of them."""
BESIDE = ("number", "place", "text", "expected", "predicted", "confidence")
"""What every mistake has; what a task adds stands behind."""


class Mistakes(list[dict[str, Any]]):
    """A dict for each record: `number`, `place`, `text`, `expected`, `predicted`, `confidence`, and what tells how
    wrong it is where no probability does. It prints as paragraphs, with texts shortened.
    """

    def __str__(self) -> str:
        lines = []
        for mistake in self:
            lines += [f"{mistake['place']}: {_numbers(mistake)}".rstrip(": "), f"  {brief(mistake['text'])}"]
            lines += [f"  {name:<9} {_answer(mistake[name])}" for name in ("expected", "predicted")]
        return "\n".join(lines) or "No mistakes."

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """What a notebook shows: a table."""
        rows = [
            [each["place"], brief(each["text"]), _answer(each["expected"]), _answer(each["predicted"]), _numbers(each)]
            for each in self
        ]
        return html.table(["record", "text", "expected", "predicted", ""], rows) if rows else "<div>No mistakes.</div>"


def brief(text: str, longest: int = LONGEST) -> str:
    """The text on one line, its middle left out where it is long."""
    text = " ".join(text.split())
    half = (longest - 3) // 2
    return text if len(text) <= longest else f"{text[:half]} … {text[-half:]}"


def _numbers(mistake: Mapping[str, Any]) -> str:
    """The probability, and what a task adds."""
    values = {name: value for name, value in mistake.items() if name not in BESIDE or name == "confidence"}
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items() if value is not None)


def _answer(value: Any) -> str:
    """An answer on one line; of entities and other parts of a text their label and text."""
    if isinstance(value, str):
        return brief(value) or "(empty)"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return brief(str(value["text"])) or "(empty)" if "text" in value else shown(dict(value), LONGEST)
    if isinstance(value, (list, tuple)):
        parts = [
            f"{part['label']} {shown(part['text'], 40)}"
            if isinstance(part, Mapping) and {"label", "text"} <= part.keys()
            else _answer(part)
            for part in value
        ]
        return brief(", ".join(parts)) or "none"
    return shown(value, LONGEST)
