"""Text that follows a text: completions, replies, summaries, translations."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from lightadapt.data import Record, Records
from lightadapt.errors import DataError, LightAdaptError, nearest
from lightadapt.metrics import Report, text_scores
from lightadapt.tasks.completions import (
    Tokens,
    complete,
    end,
    keep_end,
    log_likelihoods,
    open_with,
    prompt_tokens,
    target_tokens,
    tokenize_spans,
)
from lightadapt.tasks.conversation import Messages, ends_with_special, read_messages, render, renderings, turn_end
from lightadapt.tasks.fields import check_characters, required, text_field
from lightadapt.tasks.showing import show_tokens
from lightadapt.tasks.task import IGNORED, Encoded, Feature, ModelView, Task, filler
from lightadapt.tasks.texts import Overflow, check_overflow, lead_in

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Example(NamedTuple):
    """What is given and what is to follow; of the three ways to give it one is there."""

    references: list[str]
    """Texts that may follow; none when they are not known."""
    prompt: str | None = None
    messages: Messages = ()
    """A conversation, which ends with the assistant's reply where the references are known."""
    text: str | None = None
    """A text as a whole."""


@dataclass
class Passage(Feature):
    """A sequence to learn from, and the prompt to generate from."""

    prompt: list[int] | None = None
    """The tokens to go on from; None when nothing is to be generated."""


class SourceAndTarget(Passage):
    """What an encoder reads, and what the decoder writes."""

    def __len__(self) -> int:
        return len(self.inputs["input_ids"]) + len(self.targets.get("labels", ()))


class Inferred(NamedTuple):
    """What a model gives for one sequence."""

    loss: float
    """Sum of the negative log probabilities of the tokens to be learned."""
    tokens: int
    generated: list[int] | None


class Generated(NamedTuple):
    """The text generated for an example, and how likely the model found the references."""

    text: str | None
    loss: float
    """As a sum over `tokens`."""
    tokens: int


@dataclass(frozen=True)
class Generation(Task):
    """Text generation: `prompt` + `completion`, or `messages` (a chat), or `text`.

    A decoder continues the prompt; an encoder-decoder reads it and writes the completion. Only the completion is
    learned (of a chat what the assistant says; of a `text` all of it), with the end token. A completion may be a list
    of several; each is learned, and scores take the best. A prediction is a string.

    >>> Generation(max_new_tokens=20, options={"num_beams": 4}).options
    {'num_beams': 4}
    """

    name: ClassVar[str] = "generation"
    auto_classes: ClassVar = {"decoder": "AutoModelForCausalLM", "encoder-decoder": "AutoModelForSeq2SeqLM"}
    fields: ClassVar[tuple[str, ...]] = ("prompt", "completion", "messages", "text")
    answers: ClassVar[tuple[str, ...]] = ("completion",)
    headline: ClassVar[str] = "loss"
    greater_is_better: ClassVar[bool] = False
    pipeline: ClassVar[str] = "text-generation"
    source: ClassVar[str] = "prompt"
    """The field that is given."""
    target: ClassVar[str] = "completion"
    """The field that is to follow it."""
    scores: ClassVar[tuple[str, ...]] = ("loss", "perplexity", "exact_match", "bleu", "rougeL", "chrf")
    """The metrics, the headline first."""
    separator: ClassVar[str] = ""
    """What stands between source and target in a decoder's text."""

    max_new_tokens: int = field(default=128, kw_only=True)
    """The most tokens that are generated."""
    options: Mapping[str, Any] | None = field(default=None, kw_only=True)
    """Anything else that transformers' GenerationConfig knows: `num_beams`, `temperature`, `stop_strings`, …"""
    instruction: str = field(default="", kw_only=True)
    """Stands before every source, such as "summarize: " for T5."""
    overflow: Overflow = field(default="truncate", kw_only=True)
    """What happens to a record too long for the model: the start of its prompt (of an encoder-decoder's source the
    end) is left out, or it is refused. A `text` is never cut: it is learned in pieces."""

    def __post_init__(self) -> None:
        check_overflow(self.overflow, ("truncate", "error"))
        _check_options({"max_new_tokens": self.max_new_tokens, **(self.options or {})})

    def with_options(self, options: Mapping[str, Any]) -> Generation:
        _check_options(options)
        rest = {name: value for name, value in options.items() if name != "max_new_tokens"}
        count = options.get("max_new_tokens", self.max_new_tokens)
        return replace(self, max_new_tokens=count, options={**(self.options or {}), **rest})

    # ---- records

    def as_record(self, item: Any) -> Any:
        """A text stands for its source; a list of messages for a conversation."""
        if isinstance(item, str):
            return {self.source: item}
        if isinstance(item, (list, tuple)) and item and all(isinstance(part, Mapping) for part in item):
            return {"messages": list(item)}
        return item

    def parse_record(self, records: Records, index: int, *, labelled: bool) -> Example:
        item = records.items[index]
        if "messages" in self.fields and item.get("messages") is not None:
            return self._conversation(records, index, labelled)
        if "text" in self.fields and item.get(self.source) is None and item.get("text") is not None:
            text = text_field(records, index, "text")
            return Example([], text=text) if labelled else Example([], prompt=text)
        prompt = text_field(records, index, self.source)
        return Example(_references(records, index, self.target) if labelled else [], prompt=prompt)

    def _conversation(self, records: Records, index: int, labelled: bool) -> Example:
        messages = read_messages(records, index)
        spoken = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
        if not labelled:
            asked = messages[:-1] if spoken and spoken[-1] == len(messages) - 1 else messages
            if not asked:
                raise DataError(
                    f"{records.place(index)}: messages holds the assistant's reply alone; give the question."
                )
            return Example([], messages=asked)
        if not spoken:
            raise DataError(
                f"{records.place(index)}: no message is of the role 'assistant', so nothing is to be learned."
            )
        return Example([messages[spoken[-1]]["content"]], messages=messages[: spoken[-1] + 1])

    def samples(self) -> list[Record]:
        return [
            {self.source: "Where is it?", self.target: "It is in Rome."},
            {self.source: "Who wrote the letter that came on Monday?", self.target: "Maria."},
        ]

    def show(self, feature: Passage, view: ModelView) -> list[str]:
        ids, labels = feature.inputs["input_ids"], feature.targets["labels"]
        if view.family == "decoder":
            return [show_tokens(ids, [label != IGNORED for label in labels], view.tokenizer)]
        return [
            show_tokens(ids, [False] * len(ids), view.tokenizer),
            show_tokens(labels, [True] * len(labels), view.tokenizer),
        ]

    # ---- to features

    def encode(self, examples: Sequence[Example], view: ModelView, *, targets: bool) -> Encoded:
        encode_one = self._for_decoder if view.family == "decoder" else self._for_encoder_decoder
        features: list[Passage] = []
        cut = []
        for index, example in enumerate(examples):
            mine, was_cut = encode_one(example, index, view, targets)
            features += mine
            cut += [index] * was_cut
        if cut and self.overflow == "error":
            raise DataError(
                f"Record {cut[0]} is longer than the {view.max_length} tokens that the model takes ({len(cut)} of "
                f"{len(examples)} are). Shorten it, or choose overflow='truncate'."
            )
        kept = "the start of their prompt" if view.family == "decoder" else "their end"
        note = f"{len(cut)} of {len(examples)} records are longer than {view.max_length} tokens; {kept} is left out."
        return Encoded(features, [note] if cut else [])

    def _for_decoder(self, example: Example, index: int, view: ModelView, targets: bool) -> tuple[list[Passage], bool]:
        if example.text is not None:
            return self._whole_text(example.text, index, view), False
        cut = False
        room = replace(view, max_length=view.max_length - min(self.max_new_tokens, view.max_length // 2))
        if example.messages:
            asked = example.messages[:-1] if example.references else example.messages
            text = render(asked, view.tokenizer, ask=True) if asked else ""
            prompt = _opened(tokenize_spans(text, [], view.tokenizer), view).ids
            sequences = _learned(example.messages, index, view) if targets else []
        else:
            source = self._source_text(example)
            prompt = prompt_tokens(source, view)
            sequences = [complete(source, reference, view) for reference in example.references] if targets else []
        features = []
        for tokens in sequences:
            if not any(tokens.learned):
                raise DataError(f"Record {index}: its completion has no token in this tokenizer: {example.references}.")
            tokens, shortened = keep_end(tokens, view)
            cut = cut or shortened
            features.append(Passage(_inputs(tokens.ids), index, {"labels": tokens.labels}))
        shown, shortened = keep_end(Tokens(prompt or _first(view), [False] * max(1, len(prompt))), room)
        if not features:
            return [Passage(_inputs(shown.ids), index, prompt=shown.ids)], shortened
        features[0].prompt = shown.ids
        return features, cut

    def _whole_text(self, text: str, index: int, view: ModelView) -> list[Passage]:
        """All of a text; the pieces of a long one overlap by one token, so that each token is learned once."""
        ids = end(open_with(tokenize_spans(text, [], view.tokenizer), view), view).ids
        step = view.max_length - 1
        pieces = [ids[start : start + view.max_length] for start in range(0, max(1, len(ids) - 1), step)]
        return [Passage(_inputs(piece), index, {"labels": piece}) for piece in pieces]

    def _for_encoder_decoder(
        self, example: Example, index: int, view: ModelView, targets: bool
    ) -> tuple[list[Passage], bool]:
        if example.text is not None:
            raise DataError(
                f"Record {index} has a text alone. An encoder-decoder learns to write one text from another: give "
                f"{self.source!r} and {self.target!r}."
            )
        self.set_languages(view)
        if example.messages and example.messages[0]["role"] == "assistant" and len(example.messages) == 1:
            raise DataError(f"Record {index}: messages holds the assistant's words alone. Give what they answer, too.")
        pairs, asked = self._pairs(example, view)
        features: list[Passage] = []
        ids, cut = self._read(asked, view, keeps_end=bool(example.messages))
        for source, target in pairs if targets else []:
            given, shortened = self._read(source, view, keeps_end=bool(example.messages))
            labels = target_tokens(target, view)
            cut = cut or shortened or len(labels) > view.max_length
            features.append(SourceAndTarget(_inputs(given), index, {"labels": labels[: view.max_length]}))
        if not features:
            return [SourceAndTarget(_inputs(ids), index, prompt=ids)], cut
        features[-1].prompt = ids
        return features, cut

    def _pairs(self, example: Example, view: ModelView) -> tuple[list[tuple[str, str]], str]:
        """The sources with their targets, in a conversation one for each turn of the assistant, and the last source."""
        if not example.messages:
            source = f"{self.instruction}{example.prompt}"
            return [(source, reference) for reference in example.references], source
        turns = [
            (render(example.messages[:number], view.tokenizer, ask=True), message["content"])
            for number, message in enumerate(example.messages)
            if message["role"] == "assistant" and number
        ]
        asked = example.messages[:-1] if example.references else example.messages
        return turns, render(asked, view.tokenizer, ask=True)

    def _read(self, source: str, view: ModelView, *, keeps_end: bool) -> tuple[list[int], bool]:
        """The tokens of a source, and whether its end (or start) had to be left out."""
        ids = list(view.tokenizer(source, verbose=False)["input_ids"])
        excess = len(ids) - view.max_length
        if excess <= 0:
            return ids, False
        if not keeps_end:
            return list(view.tokenizer(source, truncation=True, max_length=view.max_length)["input_ids"]), True
        kept = len(lead_in(view.tokenizer))
        return ids[:kept] + ids[kept + excess :], True

    def _source_text(self, example: Example) -> str:
        return f"{self.instruction}{example.prompt}{self.separator}"

    def set_languages(self, view: ModelView) -> dict[str, int]:
        """Tell a multilingual tokenizer its languages; what `generate` needs to know of them."""
        return {}

    def end_tokens(self, view: ModelView) -> frozenset[int]:
        """The tokens with which a sequence can end."""
        ends = [view.tokenizer.eos_token_id, *turn_end(view.tokenizer)]
        return frozenset(number for number in ends if number is not None)

    def quick(self, features: Sequence[Passage]) -> list[Any]:
        """Without prompts where the headline needs no generated text."""
        return list(features) if self.headline != "loss" else [replace(feature, prompt=None) for feature in features]

    # ---- to texts

    def cost(self, feature: Passage) -> int:
        return len(feature) + (0 if feature.prompt is None else len(feature.prompt) + self.max_new_tokens)

    def infer(self, model: PreTrainedModel, features: Sequence[Passage], view: ModelView) -> list[Inferred]:
        losses, counts = [0.0] * len(features), [0] * len(features)
        if features[0].targets:
            batch = {name: value.to(model.device) for name, value in self.collate(features, view).items()}
            total, tokens = log_likelihoods(model, batch, shifted=view.family == "decoder")
            losses, counts = (-total).tolist(), tokens.tolist()
        asked = [place for place, feature in enumerate(features) if feature.prompt is not None]
        written: dict[int, list[int]] = {}
        if asked:
            prompts = [features[place].prompt or [] for place in asked]
            written = dict(zip(asked, self._generate(model, prompts, view), strict=True))
        return [Inferred(losses[place], counts[place], written.get(place)) for place in range(len(features))]

    def _generate(self, model: PreTrainedModel, prompts: Sequence[list[int]], view: ModelView) -> list[list[int]]:
        """The tokens that follow each prompt; the prompts are padded on the left, where nothing follows."""
        import torch

        length = max(map(len, prompts))
        padding = filler("input_ids", view.tokenizer)
        left = view.family == "decoder"

        def padded(row: list[int], value: int) -> list[int]:
            rest = [value] * (length - len(row))
            return rest + row if left else row + rest

        ids = torch.tensor([padded(prompt, padding) for prompt in prompts], device=model.device)
        mask = torch.tensor([padded([1] * len(prompt), 0) for prompt in prompts], device=model.device)
        options = self._generation_options(model, view)
        if left:
            options["max_new_tokens"] = min(options["max_new_tokens"], view.max_length - length)
        given = model.generate(  # type: ignore[operator]
            input_ids=ids, attention_mask=mask, tokenizer=view.tokenizer, **options
        )
        return [row[length:].tolist() if left else row.tolist() for row in given]

    def _generation_options(self, model: PreTrainedModel, view: ModelView) -> dict[str, Any]:
        chosen = dict(self.options or {})
        sampled = any(chosen.get(name) is not None for name in ("temperature", "top_p", "top_k", "min_p"))
        ends = model.generation_config.eos_token_id if model.generation_config is not None else None
        stops = {*(ends if isinstance(ends, list) else [ends]), view.tokenizer.eos_token_id, *turn_end(view.tokenizer)}
        return {
            "max_new_tokens": self.max_new_tokens,
            "do_sample": sampled,
            "pad_token_id": view.tokenizer.pad_token_id,
            "eos_token_id": sorted(stop for stop in stops if stop is not None) or None,
            **self.set_languages(view),
            **chosen,
        }

    def decode(
        self, examples: Sequence[Example], features: Sequence[Passage], inferred: Sequence[Inferred], view: ModelView
    ) -> list[Generated]:
        found = [Generated(None, 0.0, 0)] * len(examples)
        for feature, (loss, tokens, ids) in zip(features, inferred, strict=True):
            text, before, count = found[feature.example]
            if ids is not None:
                text = self.read_back(ids, view)
            found[feature.example] = Generated(text, before + loss, count + tokens)
        return found

    def read_back(self, ids: Sequence[int], view: ModelView) -> str:
        """The text of generated tokens, up to a stop string if one is asked for."""
        text = str(view.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        stops = (self.options or {}).get("stop_strings") or ()
        for stop in [stops] if isinstance(stops, str) else stops:
            text = text.split(stop)[0]
        return text.strip()

    def score(self, examples: Sequence[Example], predictions: Sequence[Generated]) -> tuple[dict[str, float], Report]:
        scores = {}
        tokens = sum(prediction.tokens for prediction in predictions)
        loss = sum(prediction.loss for prediction in predictions) / tokens if tokens else math.nan
        for name, value in (("loss", loss), ("perplexity", math.exp(min(loss, 700)) if tokens else math.nan)):
            if tokens:
                scores[name] = value
        pairs = [
            (example.references, prediction.text)
            for example, prediction in zip(examples, predictions, strict=True)
            if example.references and prediction.text is not None
        ]
        if pairs:
            wanted = [name for name in self.scores if name not in ("loss", "perplexity")]
            scores |= text_scores([references for references, _ in pairs], [text or "" for _, text in pairs], wanted)
        ordered = [*self.scores, *(name for name in scores if name not in self.scores)]
        return {name: scores[name] for name in ordered if name in scores}, {}

    def present(self, example: Example, prediction: Generated, *, scores: bool) -> str:
        return prediction.text or ""


def _references(records: Records, index: int, name: str) -> list[str]:
    """The texts of a field that holds one or several."""
    value = required(records, index, name)
    if isinstance(value, str):
        return [text_field(records, index, name)]
    place = records.place(index)
    if not isinstance(value, (list, tuple)) or not value:
        raise DataError(f"{place}: {name} is {value!r}. Give a text, or a list of several.")
    for text in value:
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"{place}: {name} holds {text!r}, which is empty or no text.")
        check_characters(place, name, text)
    return list(value)


def _learned(messages: Messages, index: int, view: ModelView) -> list[Tokens]:
    """The tokens of a conversation, once or once a turn, with an end token where the template sets none."""
    sequences = []
    for text, spans in renderings(messages, view.tokenizer, index):
        last = text[: spans[-1][1]]
        tokens = _opened(tokenize_spans(last, spans, view.tokenizer), view)
        sequences.append(tokens if ends_with_special(last, view.tokenizer) else end(tokens, view))
    return sequences


def _opened(tokens: Tokens, view: ModelView) -> Tokens:
    """The tokens of a conversation from their start: a template writes the specials there itself, ours does not."""
    return tokens if view.tokenizer.chat_template else open_with(tokens, view)


def _inputs(ids: list[int]) -> dict[str, Any]:
    return {"input_ids": ids, "attention_mask": [1] * len(ids)}


def _first(view: ModelView) -> list[int]:
    """What stands for an empty prompt."""
    tokenizer = view.tokenizer
    return [tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id or 0]


def _check_options(options: Mapping[str, Any]) -> None:
    from transformers import GenerationConfig

    if not isinstance(options, Mapping):
        raise LightAdaptError(f"options is a {type(options).__name__}. Give a dict such as {{'num_beams': 4}}.")
    try:
        json.dumps(dict(options))
    except TypeError as error:
        raise LightAdaptError(
            f"options holds what cannot be saved ({error}). Give numbers, texts and lists."
        ) from error
    count = options.get("max_new_tokens", 1)
    if type(count) is not int or count < 1:
        raise LightAdaptError(f"max_new_tokens={count!r}: give a whole number above 0.")
    known = GenerationConfig().to_dict().keys()
    for name in options:
        if name not in known:
            raise LightAdaptError(
                f"options holds {name!r}, which generation does not know. {nearest(str(name), known)}Such as: "
                "max_new_tokens, num_beams, temperature, top_p, do_sample, stop_strings, repetition_penalty."
            )
