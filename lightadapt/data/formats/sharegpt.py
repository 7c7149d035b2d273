"""ShareGPT: conversations whose turns say from whom they are."""

from __future__ import annotations

import json
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
    "tool_response": "tool",
    "function_response": "tool",
}
"""Who a turn is from, by the role of a message."""
CALLS = ("function_call", "tool_call")
"""Turns in which the assistant calls tools, whose value is JSON."""
KEPT = ("documents", "chat_template_kwargs")


class ShareGPT(Format):
    """`conversations`, a list of `{"from", "value"}`; beside it `system`, a text that stands before them, and `tools`.

    A turn from `function_call` becomes a message with `tool_calls`, if its value is the JSON of a call or of several.
    """

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
        tools = _tools(item.get("tools"))
        beside = {"tools": tools} if tools else {}
        return [{"messages": messages, **beside, **{name: item[name] for name in KEPT if item.get(name)}}]


def _message(number: int, turn: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in turn.items() if name not in ("from", "value")}
    if isinstance(turn["from"], str) and turn["from"] in CALLS:
        return {**rest, "role": "assistant", "content": "", "tool_calls": _calls(number, turn)}
    role = ROLES.get(turn["from"]) if isinstance(turn["from"], str) else None
    if role is None:
        known = (*ROLES, *CALLS)
        raise DataError(
            f"turn {number} is from {shown(turn['from'])}. {nearest(turn['from'], known)}Known: {', '.join(known)}."
        )
    return {**rest, "role": role, "content": turn["value"]}


def _calls(number: int, turn: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calls of a turn in the form of messages."""
    calls = _parsed(turn["value"])
    found = []
    for call in calls if isinstance(calls, list) and calls else [calls]:
        arguments = _parsed(call.get("arguments", {})) if isinstance(call, Mapping) else None
        if arguments is None or not isinstance(call.get("name"), str) or not isinstance(arguments, Mapping):
            raise DataError(
                f"turn {number} is from {turn['from']}, but its value is {shown(turn['value'])}. Give the JSON of "
                '{"name": …, "arguments": {…}} or of a list of such; what else the assistant says is a turn of its own.'
            )
        found.append({"type": "function", "function": {"name": call["name"], "arguments": dict(arguments)}})
    return found


def _tools(tools: Any) -> Any:
    """The tools as chat templates read them, of a list or its JSON; anything else as it is, for the task to refuse."""
    tools = _parsed(tools)
    if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
        return tools
    bare = [isinstance(tool.get("name"), str) and "type" not in tool for tool in tools]
    return [{"type": "function", "function": tool} if alone else tool for tool, alone in zip(tools, bare, strict=True)]


def _parsed(value: Any) -> Any:
    """What a text holds in JSON; a text that is none, and any other value, as it is."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value
