"""Alpaca: an instruction, what it is about, and what is to follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from lightadapt.data.formats.format import Format, Wanted, is_text
from lightadapt.data.records import Record
from lightadapt.errors import DataError, shown

PAIRED = (
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
    "response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n"
    "### Response:\n"
)
ALONE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)
"""The two prompts that models of this kind were trained with (Taori et al., 2023): with an input, and without one."""


class Alpaca(Format):
    """`instruction`, `input` (may be empty or missing) and `output`.

    A task with a prompt gets the published template; one that knows conversations alone gets messages, and so does a
    record that has a `system` text or a `history` of pairs, for which the template has no place.
    """

    name: ClassVar[str] = "Alpaca"
    signs: ClassVar[tuple[str, ...]] = ("instruction", "input", "output")
    gives: ClassVar[frozenset[str]] = frozenset(("prompt", "messages"))

    def fits(self, item: Any) -> bool:
        if not isinstance(item, Mapping) or not is_text(item.get("instruction")):
            return False
        return ("output" in item or "input" in item) and not any(
            name in item for name in ("prompt", "messages", "source")
        )

    def told(self, wanted: Wanted) -> str:
        return " as prompts of its template" if "prompt" in wanted.fields else " as messages"

    def convert(self, item: Any, wanted: Wanted, notes: Counter[str]) -> list[Record]:
        asked, output = item.get("input"), item.get("output")
        if not isinstance(asked, (str, type(None))):
            raise DataError(f"input is {shown(asked)} ({type(asked).__name__}), but a text is expected.")
        asked = asked if is_text(asked) else None
        if "prompt" in wanted.fields and not item.get("system") and not item.get("history"):
            template = ALONE if asked is None else PAIRED
            prompt = template.format_map({"instruction": item["instruction"], "input": asked})
            return [{"prompt": prompt, "completion": output} if wanted.labelled else {"prompt": prompt}]
        messages = [
            *_before(item),
            {"role": "user", "content": "\n\n".join(filter(None, (item["instruction"], asked)))},
        ]
        if wanted.labelled:
            messages.append({"role": "assistant", "content": output})
        return [{"messages": messages}]


def _before(item: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """What was said before the instruction."""
    if item.get("system"):
        yield {"role": "system", "content": item["system"]}
    for pair in item.get("history") or ():
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise DataError(f"history holds {shown(pair)}, not a pair of an instruction and its answer.")
        yield {"role": "user", "content": pair[0]}
        yield {"role": "assistant", "content": pair[1]}
