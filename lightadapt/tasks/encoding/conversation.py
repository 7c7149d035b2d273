"""Conversations as a chat template renders them, and the parts of the rendering that the assistant said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from lightadapt.errors import DataError, LightAdaptError, RecordError, listed, shown
from lightadapt.tasks.encoding.messages import BESIDE, NO_SETTINGS, Messages, Settings, is_learned

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PLAIN = (
    "{% for message in messages %}{{ message.role | capitalize }}: {{ message.content }}"
    "{% if message.role == 'assistant' and eos_token is defined %}{{ eos_token }}{% endif %}{{ '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""The template for tokenizers that bring none."""
STAND_IN = "What is said"
"""Stands for a reply, to see what a template writes before and behind it."""


class Rendering(NamedTuple):
    """A conversation as text, with what the assistant said as `[start, end)` in characters."""

    text: str
    spans: list[tuple[int, int]]


def render(
    messages: Messages,
    tokenizer: PreTrainedTokenizerBase,
    index: int,
    *,
    ask: bool = False,
    settings: Settings = NO_SETTINGS,
) -> str:
    """The conversation as text by the tokenizer's template, else a plain one.

    Args:
        index: of the example, for errors.
        ask: end where the assistant is to speak.
        settings: of the record, for the template.

    Raises:
        RecordError: the template refuses the conversation.
    """
    try:
        return tokenizer.apply_chat_template(  # type: ignore[no-any-return, return-value]
            [{name: value for name, value in message.items() if name != "weight"} for message in messages],
            tools=list(settings.tools) if settings.tools else None,
            documents=list(settings.documents) if settings.documents else None,
            chat_template=None if tokenizer.chat_template else PLAIN,
            tokenize=False,
            add_generation_prompt=ask,
            **settings.options,
        )
    except LightAdaptError:  # what renders it is missing
        raise
    except Exception as error:  # templates raise what they like: roles that do not alternate, no system role
        roles = listed(message["role"] for message in messages)
        raise RecordError(
            index,
            f"the chat template of the tokenizer refuses a conversation of the roles {roles} "
            f"({type(error).__name__}: {error}). Bring the messages into the order it asks for.",
        ) from error


def renderings(
    messages: Messages, tokenizer: PreTrainedTokenizerBase, index: int, settings: Settings = NO_SETTINGS
) -> list[Rendering]:
    """The conversation with all that the assistant said and is learned marked: what follows the prompt for a turn.

    The parts are found by comparing renderings, since most templates mark nothing. One rendering serves all turns;
    where a template rewrites earlier turns (leaves out their reasoning, say), each turn has one of its own, in which it
    is the last.

    Raises:
        RecordError: the template gives nothing of an assistant's turn.
    """
    turns = [
        _turn(messages[: number + 1], tokenizer, index, settings)
        for number, message in enumerate(messages)
        if is_learned(message)
    ]
    whole = turns[-1].text
    if all(whole.startswith(text[: spans[0][1]]) for text, spans in turns):
        return [Rendering(whole, [spans[0] for _, spans in turns])]
    return turns


def _turn(messages: Messages, tokenizer: PreTrainedTokenizerBase, index: int, settings: Settings) -> Rendering:
    """The conversation up to a reply, which stands behind the prompt that asks for it in use."""
    said = messages[-1]["content"].strip()
    text = render(messages, tokenizer, index, settings=settings)
    prompt = render(messages[:-1], tokenizer, index, ask=True, settings=settings) if len(messages) > 1 else ""
    if not (prompt and text.startswith(prompt) and _holds(text[len(prompt) :], said)):
        prompt, text = _composed(prompt, text, messages, tokenizer, index, settings)
    if not text[len(prompt) :].strip():
        raise _nothing_to_learn(index, said, text)
    return Rendering(text, [(len(prompt), _end_of_turn(messages[-1], text, len(prompt), tokenizer))])


def _holds(part: str, said: str) -> bool:
    """Whether a part of a rendering has all that was said; templates set white space as they like."""
    return "".join(said.split()) in "".join(part.split())


def _end_of_turn(message: Mapping[str, Any], text: str, start: int, tokenizer: PreTrainedTokenizerBase) -> int:
    """Where the reply that starts there ends: with the special tokens behind it, or else with all of the text.

    What a template writes behind the end of a turn belongs to the turn that follows.
    """
    last_word = (message["content"].split() or [""])[-1]
    reply_end = text.rfind(last_word, start) + len(last_word)
    # What stands beside the content may follow it.
    if reply_end > start and not any(message.get(name) for name in BESIDE):
        specials = "|".join(map(re.escape, sorted(tokenizer.all_special_tokens, key=len, reverse=True)))
        end = re.compile(f"(?:{specials})+").search(text, reply_end) if specials else None
        if end is not None:
            return end.end()
    return len(text.rstrip())


def _composed(
    prompt: str,
    text: str,
    messages: Messages,
    tokenizer: PreTrainedTokenizerBase,
    index: int,
    settings: Settings,
) -> tuple[str, str]:
    """Prompt and text where the template renders the prompt otherwise when a reply follows, or leaves part of it out.

    The text is the prompt as it is in use, the reply as the data has it, and the end of a turn as the template sets it.
    Of a reply that begins with what the prompt ends with, such as `<think>`, the rest follows.
    """
    said = messages[-1]["content"].strip()
    probe = render([*messages[:-1], {"role": "assistant", "content": STAND_IN}], tokenizer, index, settings=settings)
    before, found, behind = probe.rpartition(STAND_IN)
    if not found:
        raise _nothing_to_learn(index, said, text)
    if not prompt and text.startswith(before) and _holds(text[len(before) :], said):  # the assistant speaks first
        return before, text
    beside = [name for name in BESIDE if messages[-1].get(name)]
    if beside:
        raise RecordError(
            index,
            f"the assistant's message {shown(said, 60)} has {beside[0]}, but the chat template of the tokenizer "
            "renders the prompt otherwise when a reply follows, so it is not known what follows the prompt. Write all "
            "of the reply into its content, or set tokenizer.chat_template to another one.",
        )
    if not prompt:
        return before, before + said + behind
    opened = _opened_reply(prompt, render(messages[:-1], tokenizer, index, settings=settings), before)
    gap = "" if opened or prompt[-1].isspace() else before[len(before.rstrip()) :]
    if opened.strip() and said.startswith(opened.strip()):
        said = said.removeprefix(opened.strip())
        said = said.lstrip() if opened[-1].isspace() else said
    return prompt, prompt + gap + said + behind


def _opened_reply(prompt: str, asked: str, before: str) -> str:
    """What the prompt has of the reply itself: more than a finished turn has before its content."""
    added = prompt.removeprefix(asked) if prompt.startswith(asked) else ""
    header = next(size for size in range(len(added), -1, -1) if before.endswith(added[:size]))
    return added[header:]


def _nothing_to_learn(index: int, said: str, text: str) -> RecordError:
    return RecordError(
        index,
        f"the chat template of the tokenizer leaves nothing to learn of the assistant's message {shown(said, 60)}; it "
        f"renders {shown(text, 200)}. Set tokenizer.chat_template to another one.",
    )


def check_honoured(
    messages: Messages, tokenizer: PreTrainedTokenizerBase, index: int, settings: Settings = NO_SETTINGS
) -> None:
    """Raise for what the record gives beside texts and the template does not read.

    Raises:
        RecordError: naming the field, and the message.
    """
    template = str(tokenizer.chat_template or PLAIN)
    unknown = [name for name in settings.options if name not in template]
    if unknown:
        raise RecordError(
            index,
            f"chat_template_kwargs holds {shown(unknown[0])}, which the chat template of the tokenizer does not read. "
            "Remove it, or set tokenizer.chat_template to another one.",
        )
    without = {"tools": settings._replace(tools=None), "documents": settings._replace(documents=None)}
    for name, others in without.items():
        if getattr(settings, name) and not _differs(messages, messages, tokenizer, settings, others):
            raise RecordError(
                index,
                f"it has {name}, which the chat template of the tokenizer leaves out. Write them into the system "
                "message, or set tokenizer.chat_template to another one.",
            )
    for number, message in enumerate(messages):
        for name in BESIDE:
            if not message.get(name) or message["role"] != "assistant":
                continue
            seen = messages[: number + 1]
            bare = [*seen[:-1], {key: value for key, value in message.items() if key != name}]
            if not _differs(seen, bare, tokenizer, settings, settings):
                raise RecordError(
                    index,
                    f"message {number} has {name}, which the chat template of the tokenizer leaves out. Write it into "
                    "the content as the model is to write it, or set tokenizer.chat_template to another one.",
                )


def _differs(
    one: Messages, other: Messages, tokenizer: PreTrainedTokenizerBase, settings: Settings, without: Settings
) -> bool:
    """Whether a template renders both differently, or refuses the second."""
    whole = render(one, tokenizer, 0, settings=settings)
    try:
        return whole != render(other, tokenizer, 0, settings=without)
    except DataError:
        return True


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
