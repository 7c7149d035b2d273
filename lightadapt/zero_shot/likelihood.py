"""The label whose text a language model would most likely write behind a prompt with the text.

Some texts are likely behind any prompt. So the probabilities of the labels are divided by those that they have behind
the same prompt about nothing (Zhao et al. 2021, "Calibrate before use").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from lightadapt.anatomy import family_of
from lightadapt.anatomy.auto_classes import is_mapped
from lightadapt.base.companion import Companion, has_output_layer
from lightadapt.base.limits import LEAST_TOKENS
from lightadapt.base.weights import Base
from lightadapt.errors import LightAdaptError, RecordError, shown
from lightadapt.tasks import Count, Encoded, Feature, LabelledTask, ModelView
from lightadapt.tasks.classification import Classification
from lightadapt.tasks.decoding.probabilities import softmax
from lightadapt.tasks.encoding.texts import TextExample
from lightadapt.tasks.generation import Generation
from lightadapt.zero_shot.answers import mean_log_likelihoods, mean_log_likelihoods_of_targets
from lightadapt.zero_shot.prompts import DEFAULT, Prompt, Shot, answer_tokens, one_text, pieces_of, tokens_of
from lightadapt.zero_shot.stand_in import StandIn, mean_of_wordings

NOTHING = ("N/A", "", "[MASK]")
"""Texts that say nothing, over which the probabilities behind a prompt about nothing are averaged, as in the paper."""


@dataclass
class Likelihood(StandIn):
    """The calibrated likelihood of each label behind a prompt."""

    companion: Companion
    """The language model of the checkpoint around the same weights."""
    shots: tuple[Shot, ...] = ()
    """Labelled examples, which stand in the prompt before the text."""
    _answers: list[list[int]] | None = None
    """The tokens of all wordings of all labels, once they were needed."""
    _about_nothing: np.ndarray | None = None
    """The log of the probabilities `(K,)` of the labels behind a prompt about nothing, once they were needed."""

    @classmethod
    def of(cls, base: Base, task: LabelledTask) -> Likelihood | None:
        source, generation = base.blueprint.source, Generation()
        auto_class = generation.auto_classes.get(family_of(source.config))
        if auto_class is None or type(task) is not Classification:
            return None
        if not is_mapped(auto_class, source.config) or not has_output_layer(source):
            return None
        return cls(task, base, Companion(base, generation))

    def about(self, task: LabelledTask) -> Likelihood:
        return replace(self, task=task, _answers=None, _about_nothing=None)

    def with_shots(self, examples: Sequence[TextExample]) -> Likelihood:
        """The same with these labelled examples in the prompt."""
        meanings = dict(zip(map(str, self.task.labels or ()), self.task.meanings(), strict=True))
        shots = tuple(Shot(one_text(each), meanings[str(each.label)][0]) for each in examples)
        return replace(self, shots=shots, _about_nothing=None)

    def cost(self, feature: Any) -> int:
        return len(feature) + sum(map(len, self._answers or ()))

    # ---- what is asked

    def encode(self, examples: Sequence[Any], view: ModelView, *, targets: bool) -> Encoded:
        """A prompt for each example, more where a long text is read in windows.

        Raises:
            LightAdaptError: the prompt leaves a text no room.
            RecordError: a text does not fit beside the shots, or at all where the task refuses long ones.
        """
        prompt, room = self._prompt(view), self._room(view)
        overflow = self.task.overflow  # type: ignore[attr-defined]
        features, cut = [], 0
        for index, example in enumerate(examples):
            text = one_text(example)
            prompts = [tokens_of(prompt.about(text), view)]
            if len(prompts[0]) > room:
                self._check_length(len(prompts[0]), index, text, room, view)
                prompts = self._in_pieces(prompt, text, room, view, windows=overflow == "windows")
                cut += 1
            features += [Feature({"input_ids": ids, "attention_mask": [1] * len(ids)}, index) for ids in prompts]
        how = "is read in windows" if overflow == "windows" else "the model sees its start"
        text = f"{{count}} of {{total}} texts have more than {room} tokens with the prompt; of each {how}."
        return Encoded(features, [Count(text, cut)])

    def _prompt(self, view: ModelView) -> Prompt:
        template = self.task.prompt or DEFAULT  # type: ignore[attr-defined]
        return Prompt(template, tuple(wordings[0] for wordings in self.meanings(view)), self.shots)

    def _room(self, view: ModelView) -> int:
        """The most tokens of a prompt.

        Raises:
            LightAdaptError: it leaves a text less than `LEAST_TOKENS`.
        """
        longest = max(map(len, self._tokens_of_answers(view)))
        room = view.max_length - (0 if view.family == "encoder-decoder" else longest)
        taken = len(tokens_of(self._prompt(view).about(""), view))
        if room - taken < LEAST_TOKENS:
            what = f"The prompt with its {len(self.shots)} shots" if self.shots else "The prompt without a text"
            way = "Give fewer or shorter shots" if self.shots else "Give a shorter prompt=, or labels that are shorter"
            raise LightAdaptError(
                f"{what} has {taken} tokens and the longest label {longest}, but the model takes {view.max_length}: "
                f"there is no room for a text. {way}."
            )
        return room

    def _check_length(self, length: int, index: int, text: str, room: int, view: ModelView) -> None:
        """Raise where a text is not to be cut: long ones are refused, or it is the shots that take the room."""
        if self.shots and len(tokens_of(self._prompt(view).without_shots().about(text), view)) <= room:
            raise RecordError(
                index,
                f"the text has {length} tokens with the prompt and its {len(self.shots)} shots, but the model takes "
                f"{room} beside a label. Give fewer or shorter shots.",
            )
        if self.task.overflow == "error":  # type: ignore[attr-defined]
            raise RecordError(
                index,
                f"the text has {length} tokens with its prompt, but the model takes {room} beside a label. Shorten it, "
                "or choose overflow='truncate' or overflow='windows'.",
            )

    def _in_pieces(self, prompt: Prompt, text: str, room: int, view: ModelView, *, windows: bool) -> list[list[int]]:
        """Prompts about the start of a text, or about all of it in windows."""
        size = room - len(tokens_of(prompt.about(""), view))
        while True:  # what is cut out of a text may be other tokens than it was in there
            prompts = [tokens_of(prompt.about(each), view) for each in pieces_of(text, size, view, windows=windows)]
            excess = max(map(len, prompts)) - room
            if excess <= 0:
                return prompts
            size = max(1, size - excess)

    def _tokens_of_answers(self, view: ModelView) -> list[list[int]]:
        if self._answers is None:
            texts = [text for wordings in self.meanings(view) for text in wordings]
            found = [answer_tokens(self._prompt(view), text, view) for text in texts]
            for text, ids in zip(texts, found, strict=True):
                if not set(ids) - self._frame(view):
                    raise LightAdaptError(
                        f"This tokenizer leaves no token of the label {shown(text)}. Describe it in other words: "
                        "labels={label: description}."
                    )
            self._answers = found
        return self._answers

    # ---- what is answered

    def infer(self, model: PreTrainedModel, features: Sequence[Feature], view: ModelView) -> list[np.ndarray]:
        """Log p(label | prompt) - log p(label | the prompt about nothing) for each feature, `(K,)`.

        Both are means over the tokens of a label; softmax makes of them p / p0, divided by the sum over the labels.
        """
        own = self.companion.model
        with torch.no_grad(), self.untouched(own):
            if self._about_nothing is None:
                prompts = [tokens_of(self._prompt(view).about(text), view) for text in NOTHING]
                shares = [softmax(self._likelihoods(own, ids, view)) for ids in prompts]
                self._about_nothing = np.log(np.mean(shares, axis=0))
            found = [self._likelihoods(own, feature.inputs["input_ids"], view) for feature in features]
        return [each - self._about_nothing for each in found]

    def _likelihoods(self, own: PreTrainedModel, prompt: Sequence[int], view: ModelView) -> np.ndarray:
        """The mean log likelihood of the tokens of each label `(K,)`, and of its wordings."""
        answers = self._tokens_of_answers(view)
        if view.family == "encoder-decoder":
            found = mean_log_likelihoods_of_targets(own, prompt, answers, self._frame(view))
        else:
            found = mean_log_likelihoods(own, prompt, answers)
        return mean_of_wordings(found, self.meanings(view))

    @staticmethod
    def _frame(view: ModelView) -> frozenset[int]:
        """The special tokens that stand around every target of an encoder-decoder."""
        if view.family != "encoder-decoder":
            return frozenset()
        return frozenset(view.tokenizer.all_special_ids) - {view.tokenizer.unk_token_id}
