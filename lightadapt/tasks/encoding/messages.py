"""The messages of a record, checked, and what it says beside them: whose words are learned, tools, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple, TypeAlias

from lightadapt.data import Records
from lightadapt.errors import DataError, shown
from lightadapt.numbers import is_number
from lightadapt.tasks.encoding.fields import as_list, check_characters, required

Messages: TypeAlias = Sequence[Mapping[str, Any]]
"""Each a dict with `role` and `content`, `weight` 0 where it is not learned, and what else the template may read."""

LEARN = ("weight", "train", "training", "loss")
"""Names under which data says whether a message is learned: OpenAI's and Mistral's, axolotl's two, ms-swift's."""
ROLES = ("system", "user", "assistant", "tool", "function", "developer")
"""The usual roles; a template may know others."""
BESIDE = ("tool_calls", "function_call", "reasoning_content", "reasoning", "thinking")
"""What the assistant says outside of its content; only a template can write it."""
FOR_TEMPLATE = ("tools", "documents", "chat_template_kwargs")
"""Fields of a record with messages that are given to the template."""
OWN_OPTIONS = (
    *("conversation", "chat_template", "add_generation_prompt", "continue_final_message", "tokenize", "padding"),
    *("truncation", "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs"),
    *("messages", "tools", "documents"),
)
"""Arguments of `apply_chat_template` that are set here, and what a record has fields of its own for."""


class Settings(NamedTuple):
    """What a record gives the template beside the messages."""

    tools: Sequence[Mapping[str, Any]] | None = None
    documents: Sequence[Mapping[str, Any]] | None = None
    """Texts to answer from, each a dict such as `{"title": …, "text": …}`."""
    options: Mapping[str, Any] = {}
    """`chat_template_kwargs`, such as `{"enable_thinking": False}`."""


NO_SETTINGS = Settings()


def is_learned(message: Mapping[str, Any]) -> bool:
    """Whether the message is the assistant's, and the data does not say that it is not learned."""
    return bool(message["role"] == "assistant" and message.get("weight", 1) != 0)


def read_messages(records: Records, index: int) -> list[dict[str, Any]]:
    """The messages of a record, checked."""
    place = records.place(index)
    messages = as_list(place, "messages", required(records, index, "messages"))
    if not messages:
        raise DataError(f"{place}: messages is empty. Remove the record.")
    return [_read_message(place, number, message) for number, message in enumerate(messages)]


def _read_message(place: str, number: int, message: Any) -> dict[str, Any]:
    calls = isinstance(message, Mapping) and any(message.get(name) for name in ("tool_calls", "function_call"))
    needed = {"role"} if calls else {"role", "content"}
    if not isinstance(message, Mapping) or not needed <= set(message):
        raise DataError(f"{place}: message {number} is {shown(message)}, not a dict with 'role' and 'content'.")
    # Tables fill up the fields that only some of the messages have.
    found = {name: value for name, value in message.items() if value is not None and name not in LEARN}
    content = message.get("content")
    found["content"] = "" if content is None and calls else _joined_parts(place, number, content)
    for name in ("role", "content"):
        if not isinstance(found.get(name), str) or (name == "role" and not found[name]):
            raise DataError(f"{place}: the {name} of message {number} is {shown(message[name])}, not a text.")
        check_characters(place, "messages", found[name])
    _check_role(place, number, found["role"])
    if found["role"] == "assistant" and not found["content"].strip() and not calls:
        raise DataError(f"{place}: message {number} of the assistant is empty. Remove it or fill it in.")
    return found if _weight(place, number, message) else {**found, "weight": 0}


def _check_role(place: str, number: int, role: str) -> None:
    """Refuse a slip of a usual role: what the assistant says under another name would not be learned, in silence."""
    close = [] if role in ROLES or len(role) > 40 else get_close_matches(role.strip().lower(), ROLES, n=1, cutoff=0.8)
    if close:
        raise DataError(
            f"{place}: the role of message {number} is {shown(role)}. Did you mean {close[0]!r}? Write it so."
        )


def _joined_parts(place: str, number: int, content: Any) -> Any:
    """The text of a content in parts, as `[{"type": "text", "text": …}]`; any other content as it is."""
    if not isinstance(content, (list, tuple)):
        return content
    texts = []
    for part in content:
        if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            kind = part.get("type") if isinstance(part, Mapping) else part
            raise DataError(
                f"{place}: the content of message {number} has a part {shown(kind)}. Only texts are read: give a "
                "text, or parts {'type': 'text', 'text': …}."
            )
        texts.append(part["text"])
    return "".join(texts)


def _weight(place: str, number: int, message: Mapping[str, Any]) -> bool:
    """Whether the message is not said to be left unlearned.

    Raises:
        DataError: its weight is neither 0 nor 1, or it would have another's words learned than the assistant's.
    """
    named = {name: message[name] for name in LEARN if message.get(name) is not None}
    for name, value in named.items():
        if not isinstance(value, bool) and not (is_number(value) and value in (0, 1)):
            raise DataError(
                f"{place}: {name} of message {number} is {shown(value)}. Give 1 for a message of the assistant that is "
                "to be learned and 0 for one that is not; nothing between them is supported."
            )
        if value and message["role"] != "assistant":
            raise DataError(
                f"{place}: {name} of message {number} is {shown(value)}, but only what the assistant says is learned, "
                f"and its role is {shown(message['role'])}. Remove {name} there, or set it to 0."
            )
    return all(named.values())


def read_settings(records: Records, index: int) -> Settings:
    """What the record has in `tools`, `documents` and `chat_template_kwargs`, checked."""
    item, place = records.items[index], records.place(index)
    tools, documents = (_dicts(place, name, item.get(name)) for name in ("tools", "documents"))
    options = item.get("chat_template_kwargs")
    options = {} if options is None else options
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        raise DataError(
            f"{place}: chat_template_kwargs is {shown(options)}. Give a dict, such as {{'enable_thinking': False}}."
        )
    for name in options:
        if name in OWN_OPTIONS:
            raise DataError(
                f"{place}: chat_template_kwargs holds {shown(name)}, which is not a setting of a template. Remove it."
            )
    return Settings(
        tools or None, documents or None, {name: value for name, value in options.items() if value is not None}
    )


def _dicts(place: str, name: str, given: Any) -> list[Mapping[str, Any]]:
    """The items of a field that holds a list of dicts, or nothing."""
    if isinstance(given, str):
        raise DataError(
            f"{place}: {name} is the text {shown(given)}. Give a list of dicts; json.loads reads one of it."
        )
    found = [] if given is None else as_list(place, name, given)
    for each in found:
        if not isinstance(each, Mapping):
            raise DataError(f"{place}: {name} holds {shown(each)} ({type(each).__name__}), not a dict.")
    return found


def refuse_settings(records: Records, index: int) -> None:
    """Raise a DataError for what only a conversation can have, in a record that is none."""
    for name in FOR_TEMPLATE:
        if records.items[index].get(name):
            raise DataError(
                f"{records.place(index)}: {name} is for the chat template, but the record has no messages. Give "
                f"messages, or remove {name}."
            )
