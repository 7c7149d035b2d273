"""What a decoder and an encoder-decoder are given to learn from and to go on from, for one example of generation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from lightadapt.data import Records
from lightadapt.errors import DataError, RecordError, shown
from lightadapt.tasks.encoding.completions import (
    Tokens,
    append_eos,
    encode_completion,
    prepend_specials,
    prompt_tokens,
    target_tokens,
    tokenize_spans,
    truncate_left,
    truncate_source,
)
from lightadapt.tasks.encoding.conversation import check_honoured, ends_with_special, render, renderings
from lightadapt.tasks.encoding.features import IGNORED, Feature
from lightadapt.tasks.encoding.fields import as_list, check_characters, required, text_field
from lightadapt.tasks.encoding.messages import (
    BESIDE,
    NO_SETTINGS,
    Messages,
    Settings,
    is_learned,
    read_messages,
    read_settings,
)
from lightadapt.tasks.encoding.view import ModelView

LIST_AS_TEXT = re.compile(r"""\[\s*(['"]).*\1\s*\]""", re.DOTALL)
"""What pandas writes into a .csv for a list of texts."""


class GenerationExample(NamedTuple):
    """What is given and what is to follow; of the three ways to give it one is there."""

    references: list[str]
    """Texts that may follow; none when they are not known, and an empty one for a call of tools alone."""
    source: str | None = None
    messages: Messages = ()
    """A conversation, which ends with the assistant's reply where the references are known."""
    text: str | None = None
    """A text as a whole."""
    settings: Settings = NO_SETTINGS
    """What the conversation gives the template beside its messages."""

    @property
    def asked(self) -> Messages:
        """The conversation without the reply."""
        return self.messages[:-1] if self.references else self.messages


def read_conversation(records: Records, index: int, *, labelled: bool) -> GenerationExample:
    """The example of a record with messages, checked: up to the assistant's last reply, or the question for it.

    The last reply is the last that is learned.
    """
    messages, settings, place = read_messages(records, index), read_settings(records, index), records.place(index)
    learned = [number for number, message in enumerate(messages) if is_learned(message)]
    if not labelled:
        answered = messages[-1]["role"] == "assistant"
        asked = messages[: [len(messages) - 1, *learned][-1]] if answered else messages
        if not asked:
            raise DataError(f"{place}: messages holds the assistant's reply alone; give the question.")
        return GenerationExample([], messages=asked, settings=settings)
    if not learned:
        spoken = any(message["role"] == "assistant" for message in messages)
        why = "each message of the assistant has the weight 0" if spoken else "no message is of the role 'assistant'"
        raise DataError(f"{place}: {why}, so nothing is to be learned.")
    reply = messages[learned[-1]]["content"]
    return GenerationExample([reply], messages=messages[: learned[-1] + 1], settings=settings)


def read_references(records: Records, index: int, name: str) -> list[str]:
    """The texts of a field of a record that holds one or several, checked."""
    value = required(records, index, name)
    if isinstance(value, str) and records.source.endswith((".csv", ".tsv")) and LIST_AS_TEXT.fullmatch(value.strip()):
        raise DataError(
            f"{records.place(index)}: {name} is {shown(value)}. Two readings: several texts, or one that looks like a "
            "list. A .csv holds no lists: use .jsonl for either."
        )
    if isinstance(value, str):
        return [text_field(records, index, name)]
    place = records.place(index)
    texts = as_list(place, name, value)
    if not texts:
        raise DataError(f"{place}: {name} is []. Give a text, or a list of several.")
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{place}: {name} holds {shown(text)}, which is empty or not a text.")
        check_characters(place, name, text)
    return texts


@dataclass
class GenerationFeature(Feature):
    """A sequence to learn from, and the prompt to generate from."""

    prompt: list[int] | None = None
    """The tokens to go on from; None when nothing is to be generated."""


class Seq2SeqFeature(GenerationFeature):
    """What an encoder reads, and what the decoder writes."""

    def __len__(self) -> int:
        return len(self.inputs["input_ids"]) + len(self.targets.get("labels", ()))


def check_source(example: GenerationExample, index: int) -> None:
    """Raise for an example with nothing that an instruction could stand before, so that only use would have it."""
    if example.source is None:
        form = "messages have" if example.text is None else "a text has"
        raise RecordError(
            index,
            f"the task has an instruction, which stands before a source, but {form} no source. Leave instruction out; "
            "write it into a system message, or give prompt and completion.",
        )


def tokens_of_call(example: GenerationExample, feature: GenerationFeature) -> list[int] | None:
    """The tokens of the last reply as its template writes it, where the reply has no text; None where it has."""
    labels = feature.targets.get("labels")
    if example.references != [""] or labels is None:
        return None
    end = max(place for place, label in enumerate(labels) if label != IGNORED) + 1
    start = next((place + 1 for place in range(end - 1, -1, -1) if labels[place] == IGNORED), 0)
    return list(labels[start:end])


Features = tuple[list[GenerationFeature], str]
"""The features of an example, and what had to be left out of it, if anything."""


def for_decoder(example: GenerationExample, index: int, view: ModelView, *, targets: bool, room: int) -> Features:
    """One feature for each reference, or for each rendering of a conversation; without targets the prompt alone.

    Args:
        room: tokens to leave free behind the prompt.
    """
    if example.text is not None:
        return _pieces(example.text, index, view), ""
    if example.messages:
        check_honoured(example.messages, view.tokenizer, index, example.settings)
        prompt = _prompt_of(example, index, view)
        learned = _conversation(example, index, view) if targets else []
    else:
        source = example.source or ""
        prompt = prompt_tokens(source, view)
        learned = [encode_completion(source, each, view) for each in example.references] if targets else []
    features, cut = [], False
    for tokens in learned:
        if not any(tokens.learned):
            raise RecordError(
                index, f"this tokenizer leaves no token of what is to be learned: {shown(example.references)}."
            )
        tokens, shortened = truncate_left(tokens, view.max_length, view)
        cut = cut or shortened
        features.append(GenerationFeature(_inputs(tokens.ids), index, {"labels": tokens.labels}))
    prompt, shortened = truncate_left(prompt, view.max_length - room, view)
    if not targets:
        features, cut = [GenerationFeature(_inputs(prompt.ids), index)], shortened
    features[0].prompt = prompt.ids
    return features, "the start" if cut else ""


def for_encoder_decoder(example: GenerationExample, index: int, view: ModelView, *, targets: bool) -> Features:
    """One feature for each reference, or for each turn of a conversation; without targets the source alone."""
    if example.text is not None:
        raise RecordError(index, "a text alone. An encoder-decoder learns to write one text from another: give both.")
    if example.messages and not example.asked:
        raise RecordError(index, "messages holds the assistant's words alone. Give what they answer, too.")
    asked = _asked(example.asked, example, index, view) if example.messages else example.source or ""
    pairs = [(asked, each) for each in example.references]
    if example.messages:
        check_honoured(example.messages, view.tokenizer, index, example.settings)
        pairs = [
            (_asked(example.messages[:number], example, index, view), _content(message, number, index))
            for number, message in enumerate(example.messages)
            if is_learned(message) and number
        ]
    sources = dict.fromkeys([asked, *(source for source, _ in pairs if targets)])
    read = {source: _read(source, view, keeps_end=bool(example.messages)) for source in sources}
    ids, lost = read[asked]
    if not targets:
        return [Seq2SeqFeature(_inputs(ids), index, prompt=ids)], lost
    features: list[GenerationFeature] = []
    cut = ""
    for source, target in pairs:
        given, lost = read[source]
        labels, shortened = target_tokens(target, view)
        cut = "the end of the target" if shortened else lost or cut
        features.append(Seq2SeqFeature(_inputs(given), index, {"labels": labels}))
    features[-1].prompt = ids
    return features, cut


def _asked(messages: Messages, example: GenerationExample, index: int, view: ModelView) -> str:
    """These messages of an example as text, up to where the assistant is to speak."""
    return render(messages, view.tokenizer, index, ask=True, settings=example.settings)


def _content(message: Mapping[str, Any], number: int, index: int) -> str:
    """All that the assistant says in a message, as an encoder-decoder learns it, without a template."""
    beside = [name for name in BESIDE if message.get(name)]
    if beside:
        raise RecordError(
            index,
            f"message {number} has {beside[0]}, of which an encoder-decoder would learn nothing. Write it into the "
            "content as the model is to write it.",
        )
    return str(message["content"])


def new_tokens(most: int, view: ModelView) -> int:
    """At most so many tokens, and no more than leave half of the model's positions to the prompt."""
    return min(most, view.max_length // 2)


def _pieces(text: str, index: int, view: ModelView) -> list[GenerationFeature]:
    """All of a text; the pieces of a long one overlap by one token, so that each token is learned once."""
    ids = append_eos(prepend_specials(tokenize_spans(text, [], view.tokenizer), view), view).ids
    if len(ids) < 2:
        raise RecordError(
            index, f"the text {shown(text)} is one token in this tokenizer, so nothing follows from anything."
        )
    step = view.max_length - 1
    starts = range(0, max(1, len(ids) - 1), step)
    pieces = [ids[start : start + view.max_length] for start in starts]
    return [GenerationFeature(_inputs(piece), index, {"labels": piece}) for piece in pieces]


def _conversation(example: GenerationExample, index: int, view: ModelView) -> list[Tokens]:
    """The tokens of a conversation, once or once a turn, with an end token where the template sets none."""
    sequences = []
    for text, spans in renderings(example.messages, view.tokenizer, index, example.settings):
        last = text[: spans[-1][1]]
        tokens = _opened(tokenize_spans(last, spans, view.tokenizer), view)
        sequences.append(tokens if ends_with_special(last, view.tokenizer) else append_eos(tokens, view))
    return sequences


def _prompt_of(example: GenerationExample, index: int, view: ModelView) -> Tokens:
    """The tokens of a conversation up to where the assistant is to speak."""
    text = _asked(example.asked, example, index, view) if example.asked else ""
    tokens = _opened(tokenize_spans(text, [], view.tokenizer), view)
    if tokens.ids:
        return tokens
    first = view.tokenizer.bos_token_id
    return Tokens([first if first is not None else view.tokenizer.eos_token_id or 0], [False])


def _opened(tokens: Tokens, view: ModelView) -> Tokens:
    """The tokens of a conversation from their start: a template writes the specials there itself, ours does not."""
    return tokens if view.tokenizer.chat_template else prepend_specials(tokens, view)


def _read(source: str, view: ModelView, *, keeps_end: bool) -> tuple[list[int], str]:
    """The tokens of a source, and what had to be left out: of a conversation its start, else the end."""
    ids = list(view.tokenizer(source, verbose=False)["input_ids"])
    if len(ids) <= view.max_length:
        return ids, ""
    if keeps_end:
        return truncate_source(ids, view)[0], "the start of the conversation"
    shorter = view.tokenizer(source, truncation=True, max_length=view.max_length)["input_ids"]
    return list(shorter), "the end of the source"


def _inputs(ids: list[int]) -> dict[str, Any]:
    return {"input_ids": ids, "attention_mask": [1] * len(ids)}
