"""Special tokens that somebody typed into a message, which the model reads as if the template had written them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightadapt.errors import DataError, shown
from lightadapt.tasks.encoding.conversation import render
from lightadapt.tasks.encoding.features import Count, Instance
from lightadapt.tasks.encoding.messages import BESIDE, Messages
from lightadapt.tasks.encoding.sequences import GenerationExample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TYPED = (
    "{count} of {total} records have special tokens typed into their messages; the first is {first}. The model reads "
    "them as if the chat template had written them, so a text can end its turn and speak for another. Remove them, or "
    "write them otherwise."
)
TURNS: Messages = (
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
    {"role": "user", "content": "c"},
)


def count_typed(examples: Sequence[GenerationExample], tokenizer: PreTrainedTokenizerBase) -> list[Count]:
    """How many conversations hold such tokens, with the first of them."""
    marks = _marks(tokenizer) if any(example.messages for example in examples) else None
    if marks is None:
        return []
    found = [
        Instance(index, what)
        for index, example in enumerate(examples)
        if (what := next(_typed(example.messages, marks), None)) is not None
    ]
    return [Count(TYPED, len(found), first=found[0])] if found else []


def _typed(messages: Messages, marks: re.Pattern[str]) -> Iterator[str]:
    """Each text of the messages in which there is a mark, and which."""
    for number, message in enumerate(messages):
        for name in ("content", *BESIDE):
            for text in _texts(message.get(name)):
                hit = marks.search(text)
                if hit is not None:
                    yield f"{shown(hit[0])} in the {name} of message {number}"


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value of JSON, names of fields among them: of a call of a tool a template writes these, too.

    >>> list(_texts([{"function": {"name": "find", "arguments": {"where": "Rome"}}}]))
    ['function', 'name', 'find', 'arguments', 'where', 'Rome']
    """
    rest = [value]
    while rest:
        value = rest.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            rest += reversed([part for pair in value.items() for part in pair])
        elif isinstance(value, (list, tuple)):
            rest += reversed(value)


def _marks(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str] | None:
    """What the tokenizer never takes for a text: its special tokens, and those that the template writes around turns.

    DeepSeek's `<｜User｜>` is of the second kind. `<think>`, which an assistant may well write, is neither. None where
    there are no such tokens, or where they are read as any other text.
    """
    if tokenizer.split_special_tokens:
        return None
    added = tokenizer.added_tokens_decoder.values()
    marks = {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}
    try:
        around = render(TURNS, tokenizer, 0) if tokenizer.chat_template else ""
    except DataError:  # a template that wants something else is told of where the records are rendered
        around = ""
    marks |= {token.content for token in added if token.content in around}
    marks.discard(str(tokenizer.unk_token))  # data sets have it for a word that they left out
    marks = {mark for mark in marks if mark.strip()}
    return re.compile("|".join(map(re.escape, sorted(marks, key=len, reverse=True)))) if marks else None
