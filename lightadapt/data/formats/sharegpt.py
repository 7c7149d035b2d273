"""ShareGPT: conversations whose turns say from whom they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

from lightadapt.data.formats.format import Format, Wanted, has_dicts
from lightadapt.data.records import Record
from lightadapt.errors import DataError, nearest, shown

NAMES = ("conversations", "conversation", "messages")
ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
}
"""Who a turn is from, by the role of a message."""
KEPT = ("tools", "documents", "chat_template_kwargs")


class ShareGPT(Format):
    """`conversations`, a list of `{"from", "value"}`; beside it `system`, a text that stands before them."""

    name: ClassVar[str] = "ShareGPT"
    signs: ClassVar[tuple[str, ...]] = ("conversations", "from", "value")
    gives: ClassVar[frozenset[str]] = frozenset(("messages",))

    def fits(self, item: Any) -> bool:
        return isinstance(item, Mapping) and any(has_dicts(item.get(name), "from", "value") for name in NAMES)

    def convert(self, item: Any, wanted: Wanted, notes: Counter[str]) -> list[Record]:
        turns = next(item[name] for name in NAMES if has_dicts(item.get(name), "from", "value"))
        messages = [_message(number, turn) for number, turn in enumerate(turns)]
        if isinstance(item.get("system"), str) and item["system"] and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": item["system"]})
        return [{"messages": messages, **{name: item[name] for name in KEPT if item.get(name)}}]


def _message(number: int, turn: Mapping[str, Any]) -> dict[str, Any]:
    role = ROLES.get(turn["from"]) if isinstance(turn["from"], str) else None
    if role is None:
        raise DataError(
            f"turn {number} is from {shown(turn['from'])}. {nearest(turn['from'], ROLES)}Known: {', '.join(ROLES)}. "
            "Calls of tools are written as messages with 'tool_calls'."
        )
    rest = {name: value for name, value in turn.items() if name not in ("from", "value")}
    return {**rest, "role": role, "content": turn["value"]}
