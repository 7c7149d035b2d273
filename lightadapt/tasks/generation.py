"""Text that follows a text: completions, replies, summaries, translations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lightadapt.data import Record, Records
from lightadapt.errors import DataError, LightAdaptError
from lightadapt.metrics import Counted, Report, Tally, Together, text_scores, text_tally
from lightadapt.metrics.tally import ratio
from lightadapt.numbers import check_whole
from lightadapt.tasks.decoding.judgement import Judgement
from lightadapt.tasks.decoding.writing import Generated, Inferred, check_options, generation_options, write_on
from lightadapt.tasks.encoding.conversation import turn_end
from lightadapt.tasks.encoding.features import IGNORED, Encoded
from lightadapt.tasks.encoding.fields import text_field
from lightadapt.tasks.encoding.learned_chats import FittedChats, chats_in
from lightadapt.tasks.encoding.messages import FOR_TEMPLATE, refuse_settings
from lightadapt.tasks.encoding.sequences import (
    GenerationExample,
    GenerationFeature,
    check_source,
    for_decoder,
    for_encoder_decoder,
    new_tokens,
    read_conversation,
    read_references,
    tokens_of_call,
)
from lightadapt.tasks.encoding.showing import show_tokens
from lightadapt.tasks.encoding.texts import CUTS, Cut, check_overflow, count_cut
from lightadapt.tasks.encoding.typed_tokens import count_typed
from lightadapt.tasks.encoding.view import ModelView
from lightadapt.tasks.losses.objective import Objective, Weigher
from lightadapt.tasks.task import Task

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

HIGHEST_LOSS = 700.0
"""Beyond it the perplexity would overflow."""


@dataclass(frozen=True)
class Generation(Task):
    """Text generation: `prompt` + `completion`, or `messages` (a chat), or `text`.

    A decoder continues the prompt; an encoder-decoder reads it and writes the completion. Only the completion is
    learned (of a chat what the assistant says; of a `text` all of it), with the end token. A completion may be a list
    of several; each is learned, and scores take the best. A prediction is a string.

    A message of the assistant with `weight` 0 is read and not learned. `tools`, `documents` and `chat_template_kwargs`
    beside the messages go to the chat template.

    >>> Generation(max_new_tokens=20, options={"num_beams": 4}).options
    {'num_beams': 4}
    """

    name: ClassVar[str] = "generation"
    auto_classes: ClassVar = {"decoder": "AutoModelForCausalLM", "encoder-decoder": "AutoModelForSeq2SeqLM"}
    fields: ClassVar[tuple[str, ...]] = (*("prompt", "completion", "messages", "text"), *FOR_TEMPLATE)
    answer_fields: ClassVar[tuple[str, ...]] = ("completion",)
    headline: ClassVar[str] = "loss"
    comparable: ClassVar[bool] = False
    greater_is_better: ClassVar[bool] = False
    pipeline: ClassVar[str] = "text-generation"
    source_field: ClassVar[str] = "prompt"
    """The field that is given."""
    target_field: ClassVar[str] = "completion"
    """The field that is to follow it."""
    metrics: ClassVar[tuple[str, ...]] = ("loss", "perplexity", "exact_match", "bleu", "rougeL", "chrf")
    """The metrics, the headline first."""
    separator: ClassVar[str] = ""
    """What stands between source and target in a decoder's text."""

    max_new_tokens: int = field(default=128, kw_only=True)
    """The most tokens that are generated."""
    options: Mapping[str, Any] | None = field(default=None, kw_only=True)
    """Anything else that transformers' GenerationConfig knows: `num_beams`, `temperature`, `stop_strings`, …"""
    instruction: str = field(default="", kw_only=True)
    """Stands before every source, such as "summarize: " for T5."""
    overflow: Cut = field(default="truncate", kw_only=True)
    """What happens to a record too long for the model: its start is left out (of an encoder-decoder's source and target
    the end), or it is refused. A `text` is never cut: it is learned in pieces."""
    fitted: FittedChats = field(default=FittedChats(), kw_only=True)

    def __post_init__(self) -> None:
        check_overflow(self.overflow, CUTS)
        if not isinstance(self.instruction, str):
            raise LightAdaptError(f"instruction={self.instruction!r}: give a text.")
        check_whole("max_new_tokens", self.max_new_tokens, wanted="a whole number above 0")
        if self.options is not None:
            check_options(self.options)

    def with_options(self, options: Mapping[str, Any]) -> Generation:
        if not isinstance(options, Mapping):
            raise LightAdaptError(f"options is a {type(options).__name__}. Give a dict such as {{'num_beams': 4}}.")
        rest = {name: value for name, value in options.items() if name != "max_new_tokens"}
        count = options.get("max_new_tokens", self.max_new_tokens)
        return replace(self, max_new_tokens=count, options={**(self.options or {}), **rest})

    # ---- records

    def as_record(self, item: Any) -> Any:
        """A text stands for its source, or for what a user says to a model that learned conversations.

        A list of messages stands for a conversation.
        """
        if isinstance(item, Mapping) and {"role", "content"} <= set(item):
            raise DataError("This is one message. A conversation is a list of them: predict([[message, …]]).")
        if isinstance(item, str):
            return self.fitted.record(item) if self.fitted.chats else {self.source_field: item}
        if isinstance(item, (list, tuple)) and item and all(isinstance(part, Mapping) for part in item):
            return {"messages": list(item)}
        return item

    def known_fields(self, records: Records, *, labelled: bool) -> list[str]:
        """The fields of the form that the records have."""
        first = records.items[0]
        for form in (("messages", *FOR_TEMPLATE), (self.source_field, self.target_field), ("text",)):
            if form[0] in self.fields and first.get(form[0]) is not None:
                return [name for name in form if labelled or name not in self.answer_fields]
        return super().known_fields(records, labelled=labelled)

    def parse_record(self, records: Records, index: int, *, labelled: bool) -> GenerationExample:
        item = records.items[index]
        if "messages" in self.fields and item.get("messages") is not None:
            return read_conversation(records, index, labelled=labelled)
        if "messages" in self.fields:
            refuse_settings(records, index)
        if "text" in self.fields and item.get(self.source_field) is None and item.get("text") is not None:
            text = text_field(records, index, "text")
            return GenerationExample([], text=text) if labelled else GenerationExample([], source=text)
        source = text_field(records, index, self.source_field)
        return GenerationExample(read_references(records, index, self.target_field) if labelled else [], source=source)

    def prepare(self, examples: Sequence[GenerationExample], *, fresh_head: bool) -> Generation:
        return replace(self, fitted=chats_in(examples))

    def samples(self) -> list[Record]:
        pairs = [("Where is it?", "It is in Rome."), ("Who wrote the letter that came on Monday?", "Maria.")]
        if not self.fitted.chats:
            return [{self.source_field: source, self.target_field: target} for source, target in pairs]
        asked = [(self.fitted.record(source), {"role": "assistant", "content": reply}) for source, reply in pairs]
        return [{**record, "messages": [*record["messages"], reply]} for record, reply in asked]

    def show(self, feature: GenerationFeature, view: ModelView) -> list[str]:
        ids, labels = feature.inputs["input_ids"], feature.targets["labels"]
        if view.family == "decoder":
            learned = [place > 0 and label != IGNORED for place, label in enumerate(labels)]  # nothing stands before 0
            return [show_tokens(ids, learned, view.tokenizer)]
        return [
            show_tokens(part, [learn] * len(part), view.tokenizer) for part, learn in ((ids, False), (labels, True))
        ]

    # ---- to features

    def encode(self, examples: Sequence[GenerationExample], view: ModelView, *, targets: bool) -> Encoded:
        features: list[GenerationFeature] = []
        cut: dict[int, str] = {}
        for index, example in enumerate(examples):
            if targets and self.instruction:
                check_source(example, index)
            if view.family == "decoder":
                example = self._prompted(example, self.separator)
                mine, lost = for_decoder(
                    example, index, view, targets=targets, room=new_tokens(self.max_new_tokens, view)
                )
            else:
                mine, lost = for_encoder_decoder(self._prompted(example, ""), index, view, targets=targets)
            features += mine
            if lost:
                cut[index] = lost
        counts = count_cut(cut, view, self.overflow)
        counts += [*self.fitted.count_raw(examples), *count_typed(examples, view.tokenizer)]
        return Encoded(features, counts)

    def _prompted(self, example: GenerationExample, separator: str) -> GenerationExample:
        """The example with what stands before and behind its source."""
        source = example.source
        return example if source is None else example._replace(source=f"{self.instruction}{source}{separator}")

    def end_tokens(self, view: ModelView) -> frozenset[int]:
        """The tokens with which a sequence can end."""
        ends = [view.tokenizer.eos_token_id, *turn_end(view.tokenizer)]
        return frozenset(number for number in ends if number is not None)

    def objective(self, examples: Sequence[GenerationExample], view: ModelView) -> Objective | None:
        """The model's own loss; for a decoder it is computed without the logits of what is not learned."""
        if view.family != "decoder":
            return None
        from lightadapt.tasks.losses.likelihoods import log_likelihoods

        def loss(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            total, counts = log_likelihoods(model, batch, shifted=True)
            return -total.sum() / counts.sum()

        return loss

    def weigher(self, examples: Sequence[GenerationExample], view: ModelView) -> Weigher:
        if view.family != "decoder":
            return super().weigher(examples, view)
        return lambda batch: (batch["labels"][:, 1:] != IGNORED).sum()  # nothing stands before the first

    def language_options(self, view: ModelView) -> dict[str, int]:
        """What `generate` needs to know of the language to write."""
        return {}

    def validation_features(self, features: Sequence[GenerationFeature]) -> list[Any]:
        """Without prompts where the headline needs no generated text."""
        return list(features) if self.headline != "loss" else [replace(feature, prompt=None) for feature in features]

    # ---- to texts

    def cost(self, feature: GenerationFeature) -> int:
        return len(feature) + (0 if feature.prompt is None else len(feature.prompt) + self.max_new_tokens)

    def infer(self, model: PreTrainedModel, features: Sequence[GenerationFeature], view: ModelView) -> list[Inferred]:
        losses, counts = [0.0] * len(features), [0] * len(features)
        if features[0].targets:
            from lightadapt.tasks.losses.likelihoods import log_likelihoods

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
        """The tokens that follow each prompt."""
        chosen = {**self.language_options(view), **(self.options or {})}
        options = generation_options(model, view, chosen, self.max_new_tokens, self.end_tokens(view))
        try:
            return write_on(model, prompts, view, options)
        except (ValueError, TypeError, RuntimeError, ArithmeticError, IndexError) as error:
            if not self.options:
                raise
            raise LightAdaptError(
                f"Generating with the options {dict(self.options)} failed ({type(error).__name__}: {error})."
            ) from error

    def decode(
        self,
        examples: Sequence[GenerationExample],
        features: Sequence[GenerationFeature],
        inferred: Sequence[Inferred],
        view: ModelView,
    ) -> list[Generated]:
        found = [Generated(None, 0.0, 0)] * len(examples)
        for feature, (loss, tokens, ids) in zip(features, inferred, strict=True):
            text, before, count, _ = found[feature.example]
            if ids is not None:
                text = self.read_back(ids, view)
            call = tokens_of_call(examples[feature.example], feature)
            said = None if call is None else self.read_back(call, view)
            found[feature.example] = Generated(text, before + loss, count + tokens, said)
        return found

    def read_back(self, ids: Sequence[int], view: ModelView) -> str:
        """The text of generated tokens, up to a stop string if one is asked for."""
        text = str(view.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        stops = (self.options or {}).get("stop_strings") or ()
        for stop in [stops] if isinstance(stops, str) else stops:
            text = text.split(stop)[0]
        return text.strip()

    def score(
        self, examples: Sequence[GenerationExample], predictions: Sequence[Generated]
    ) -> tuple[dict[str, float], Report]:
        found: dict[str, float] = {}
        tokens = sum(prediction.tokens for prediction in predictions)
        if tokens:
            loss = sum(prediction.loss for prediction in predictions) / tokens
            found = {"loss": loss, "perplexity": math.exp(min(loss, HIGHEST_LOSS))}
        places, references, texts = self._compared(examples, predictions)
        if places:
            found |= text_scores(references, texts, self._text_metrics)
        return {name: found[name] for name in self.metrics if name in found}, {}

    @property
    def _text_metrics(self) -> list[str]:
        return [name for name in self.metrics if name not in ("loss", "perplexity")]

    def _compared(
        self, examples: Sequence[GenerationExample], predictions: Sequence[Generated]
    ) -> tuple[list[int], list[list[str]], list[str]]:
        """The places of the examples whose text can be compared, their references, and the texts."""
        found = [
            (place, example.references if prediction.call is None else [prediction.call], prediction.text)
            for place, (example, prediction) in enumerate(zip(examples, predictions, strict=True))
            if example.references and prediction.text is not None
        ]
        places, references, texts = zip(*found, strict=True) if found else ((), (), ())
        return list(places), list(references), list(texts)

    def tally(self, examples: Sequence[GenerationExample], predictions: Sequence[Generated]) -> Tally:
        parts: list[Tally] = []
        if any(prediction.tokens for prediction in predictions):
            rows = [[prediction.loss, prediction.tokens] for prediction in predictions]
            parts.append(Counted.of(rows, _likelihood))
        places, references, texts = self._compared(examples, predictions)
        if places:
            parts.append(text_tally(references, texts, self._text_metrics).spread(places, len(examples)))
        return Together(parts)

    def present(self, example: GenerationExample, prediction: Generated, *, scores: bool) -> str:
        return prediction.text or ""

    def text_of(self, record: Record) -> str:
        """What is given: of a conversation all but the last reply."""
        messages = record.get("messages") if "messages" in self.fields else None
        if messages is None:
            return super().text_of(record)
        said = [f"{message['role']}: {message.get('content') or ''}" for message in messages]
        return "\n".join(said[:-1] if messages[-1]["role"] == "assistant" else said)

    def judge(self, example: GenerationExample, prediction: Generated) -> Judgement | None:
        """Texts that share least with a reference come first; of equal ones those that the model finds least likely.

        What is no text to compare, such as a record that is learned as a whole, goes by its likelihood.
        """
        loss = prediction.loss / prediction.tokens if prediction.tokens else 0.0
        measures = {"loss": loss} if prediction.tokens else {}
        if prediction.text is None or not example.references:
            return Judgement(prediction.text, rank=(loss,), measures=measures)
        if prediction.text.strip() in [reference.strip() for reference in example.references]:
            return None
        shared = text_scores([example.references], [prediction.text], ["rougeL"])["rougeL"]
        expected = example.references if len(example.references) > 1 else example.references[0]
        return Judgement(prediction.text, expected, rank=(1 - shared, loss), measures={"rougeL": shared, **measures})


def _likelihood(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Loss and perplexity from sums of losses and of tokens."""
    loss = ratio(sums[:, 0], sums[:, 1], empty=math.nan)
    return {"loss": loss, "perplexity": np.exp(np.minimum(loss, HIGHEST_LOSS))}
