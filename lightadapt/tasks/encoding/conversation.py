"""Conversations as a chat template renders them, and the parts of the rendering that the assistant said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from lightadapt.data import Records
from lightadapt.errors import DataError, RecordError, shown
from lightadapt.tasks.encoding.fields import as_list, check_characters, required

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[Mapping[str, str]]

PLAIN = (
    "{% for message in messages %}{{ message.role | capitalize }}: {{ message.content }}"
    "{% if message.role == 'assistant' and eos_token is defined %}{{ eos_token }}{% endif %}{{ '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""The template for tokenizers that bring none."""


class Rendering(NamedTuple):
    """A conversation as text, with what the assistant said as `[start, end)` in characters."""

    text: str
    spans: list[tuple[int, int]]


def read_messages(records: Records, index: int) -> list[dict[str, str]]:
    """The messages of a record, checked."""
    place = records.place(index)
    messages = as_list(place, "messages", required(records, index, "messages"))
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
            raise DataError(f"{place}: message {number} is {shown(message)}, not a dict with 'role' and 'content'.")
        for name in ("role", "content"):
            if not isinstance(message[name], str) or (name == "role" and not message[name]):
                raise DataError(f"{place}: the {name} of message {number} is {shown(message[name])}, not a text.")
            check_characters(place, "messages", message[name])
        if message["role"] == "assistant" and not message["content"].strip():
            raise DataError(f"{place}: message {number} of the assistant is empty. Remove it or fill it in.")
    if not messages:
        raise DataError(f"{place}: messages is empty. Remove the record.")
    return [dict(message) for message in messages]


def render(messages: Messages, tokenizer: PreTrainedTokenizerBase, index: int, *, ask: bool = False) -> str:
    """The conversation as text by the tokenizer's template, else a plain one.

    Args:
        index: of the example, for errors.
        ask: end where the assistant is to speak.

    Raises:
        RecordError: the template refuses the conversation.
    """
    try:
        return tokenizer.apply_chat_template(  # type: ignore[no-any-return, return-value]
            list(messages),
            chat_template=None if tokenizer.chat_template else PLAIN,
            tokenize=False,
            add_generation_prompt=ask,
        )
    except Exception as error:  # templates raise what they like: roles that do not alternate, no system role
        roles = ", ".join(message["role"] for message in messages)
        raise RecordError(
            index,
            f"the chat template of the tokenizer refuses a conversation of the roles {roles} "
            f"({type(error).__name__}: {error}). Bring the messages into the order it asks for.",
        ) from error


def renderings(messages: Messages, tokenizer: PreTrainedTokenizerBase, index: int) -> list[Rendering]:
    """The conversation with all that the assistant said marked: what a turn adds to the prompt for it.

    The parts are found by comparing renderings, since most templates mark nothing. One rendering serves all turns;
    where a template rewrites earlier turns (leaves out their reasoning, say), each turn has one of its own, in which it
    is the last.

    Raises:
        DataError: the template gives nothing of an assistant's turn.
    """
    turns = []
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = render(messages[:number], tokenizer, index, ask=True) if number else ""
        text = render(messages[: number + 1], tokenizer, index)
        start = _start_of_reply(prompt, text, message["content"].strip())
        end = len(text.rstrip())
        if not text[start:end].strip():
            raise RecordError(
                index,
                "the chat template of the tokenizer leaves nothing to learn of the assistant's message "
                f"{message['content'][:60]!r}; it renders {text[:200]!r}. Set tokenizer.chat_template to another one.",
            )
        turns.append(Rendering(text, [(start, end)]))
    whole = turns[-1].text
    if all(whole.startswith(text[: spans[0][1]]) for text, spans in turns):
        return [Rendering(whole, [spans[0] for _, spans in turns])]
    return turns


def _start_of_reply(prompt: str, text: str, reply: str) -> int:
    """Where the reply begins in the rendering: behind the prompt, or where that ends to be the same.

    A template may add to the prompt what it leaves out of a finished turn; a reply may begin like that by chance.
    """
    if not prompt:  # the assistant speaks first
        return max(text.find(reply), 0)
    if text.startswith(prompt):
        return len(prompt)
    pairs = zip(prompt, text, strict=False)
    common = next((number for number, (a, b) in enumerate(pairs) if a != b), min(len(prompt), len(text)))
    at = text.rfind(reply)
    return min(common, at) if at >= 0 else common


def ends_with_special(text: str, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a special token ends the text, so that a model learns to stop there."""
    return text.endswith(tuple(tokenizer.all_special_tokens))


def turn_end(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The special token with which the template ends a turn of the assistant, where it does."""
    if not tokenizer.chat_template:
        return []
    try:
        text = render([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], tokenizer, 0).rstrip()
    except DataError:
        return []
    tail = [token for token in tokenizer.all_special_tokens if text.endswith(token)]
    return [tokenizer.convert_tokens_to_ids(max(tail, key=len))] if tail else []  # type: ignore[list-item]
