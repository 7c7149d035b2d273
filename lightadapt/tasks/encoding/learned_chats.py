"""What a model that learned conversations keeps of them, so that a bare text is asked as it learned to be asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lightadapt.data import Record
from lightadapt.tasks.encoding.features import Count
from lightadapt.tasks.encoding.sequences import GenerationExample
from lightadapt.tasks.fitted import Fitted

RAW = (
    "{count} of {total} records are prompts and no messages, but this model learned conversations: they are read as "
    "they are, without its chat template. Give texts or messages to have them asked as in training."
)


@dataclass(frozen=True)
class FittedChats(Fitted):
    """What all conversations that `fit` learned from had in common."""

    chats: bool = False
    """Whether all records were conversations; then a text stands for what a user says."""
    system: str | None = None
    """The system message that every conversation began with."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The `chat_template_kwargs` that every record had."""

    def record(self, text: str) -> Record:
        """The conversation in which a user says the text."""
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        beside = {"chat_template_kwargs": dict(self.settings)} if self.settings else {}
        return {"messages": [*system, {"role": "user", "content": text}], **beside}

    def count_raw(self, examples: Iterable[GenerationExample]) -> list[Count]:
        """How many of these examples are not asked as was learned."""
        if not self.chats:
            return []
        return [Count(RAW, sum(not example.messages for example in examples))]


def chats_in(examples: Iterable[GenerationExample]) -> FittedChats:
    """What all of these examples have in common; nothing unless all are conversations."""
    systems: set[str | None] = set()
    settings: set[str] = set()
    for example in examples:
        if not example.messages:
            return FittedChats()
        first = example.messages[0]
        systems.add(first["content"] if first["role"] == "system" else None)
        settings.add(_as_text(example.settings.options))
    if not systems:
        return FittedChats()
    return FittedChats(
        chats=True,
        system=systems.pop() if len(systems) == 1 else None,
        settings=json.loads(settings.pop()) if len(settings) == 1 else {},
    )


def _as_text(options: Mapping[str, Any]) -> str:
    """The options in a form that compares and can be saved; those that JSON does not hold are not kept."""
    try:
        return json.dumps(dict(options), sort_keys=True)
    except (TypeError, ValueError):
        return "{}"
