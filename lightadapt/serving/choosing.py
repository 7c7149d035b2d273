"""Which token comes next in each of many rows, of which each has options of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from transformers import (
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

TOP_K = 50
"""What transformers' `generate` samples from where neither the caller nor the checkpoint says."""
HEEDED = frozenset(
    {
        *("max_new_tokens", "min_new_tokens", "stop_strings", "eos_token_id", "pad_token_id", "bos_token_id"),
        *("do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "no_repeat_ngram_size"),
        *("max_length", "length_penalty", "early_stopping", "transformers_version", "_from_model_config"),
    }
)
"""Options that are followed here, or say nothing: the length that new tokens replace, and those of beams."""
NEUTRAL = {"num_beams": 1, "num_return_sequences": 1, "use_cache": True, "min_length": 0, "typical_p": 1.0}
"""Others, with the values that change nothing; those that are off change nothing either."""


def are_heeded(options: Mapping[str, Any]) -> bool:
    """Whether these options can be followed row by row and token by token, as beams cannot.

    >>> are_heeded({"temperature": 0.7, "stop_strings": ["."]}), are_heeded({"num_beams": 4})
    (True, False)
    """
    return all(name in HEEDED or value == NEUTRAL.get(name, False) or value is None for name, value in options.items())


class Chooser:
    """Chooses the tokens of one row, as `generate` does with the same options.

    Attributes:
        warps: the options that say what is sampled from, equal for rows that can be treated together; None: nothing is
            sampled, the likeliest token comes next.
        warpers: what they are carried out by.
        generator: what is drawn with; None: what torch draws with.
    """

    def __init__(self, options: Mapping[str, Any], prompt: int, device: torch.device, seed: int | None = None) -> None:
        """Choose by the options of `generate`, those of the checkpoint among them, behind so many tokens.

        Raises:
            ValueError, TypeError: an option has a value that makes no sense.
        """
        self.warps: tuple[Any, ...] | None = None
        self.warpers = LogitsProcessorList()
        self.generator: torch.Generator | None = None
        if options.get("do_sample"):
            top_k = options.get("top_k")
            names = ("temperature", "top_p", "min_p")
            self.warps = (TOP_K if top_k is None else top_k, *(options.get(name) for name in names))
            self.warpers += _warpers(*self.warps)
        if self.warps is not None and seed is not None:
            self.generator = torch.Generator(device).manual_seed(seed)
        self._edits = LogitsProcessorList(_edits(options, prompt, device))

    @property
    def edits(self) -> bool:
        """Whether what was written before changes what can come next."""
        return len(self._edits) > 0

    def edited(self, ids: Sequence[int], scores: torch.Tensor) -> torch.Tensor:
        """The scores of the next token, (vocabulary), after these tokens, the prompt among them."""
        before = torch.tensor([list(ids)], device=scores.device)
        return self._edits(before, scores[None])[0]  # type: ignore[arg-type, no-any-return]


def choose(rows: Sequence[tuple[Chooser, Sequence[int]]], logits: Sequence[torch.Tensor]) -> list[int | Exception]:
    """The next token of each row, or what went wrong with it.

    Args:
        rows: how each chooses, with its tokens so far.
        logits: (vocabulary) for each row.
    """
    scores = torch.stack(list(logits)).float()
    found: list[int | Exception] = list(scores.argmax(-1).tolist())
    sampled: dict[tuple[Any, ...], list[int]] = {}
    for place, (chooser, ids) in enumerate(rows):
        try:
            if chooser.edits:
                scores[place] = chooser.edited(ids, scores[place])
                found[place] = int(scores[place].argmax())
            if chooser.warps is not None:
                sampled.setdefault(chooser.warps, []).append(place)
        except Exception as error:  # of one row alone, whatever it is
            found[place] = error
    for places in sampled.values():
        warpers = rows[places[0]][0].warpers
        try:
            likely = warpers(None, scores[places]).softmax(-1)  # type: ignore[arg-type]
        except Exception as error:  # of these rows alone, which all ask for it
            found = [error if place in places else each for place, each in enumerate(found)]
            continue
        for place, row in zip(places, likely, strict=True):
            found[place] = _drawn(row, rows[place][0].generator)
    return found


def _drawn(likely: torch.Tensor, generator: torch.Generator | None) -> int | Exception:
    try:
        return int(torch.multinomial(likely, 1, generator=generator))
    except RuntimeError as error:  # of a model that gives no numbers
        return error


def _edits(options: Mapping[str, Any], prompt: int, device: torch.device) -> Iterable[Any]:
    """What changes scores by what was written, in the order of `generate`."""
    penalty, gram, least = (
        options.get(name) for name in ("repetition_penalty", "no_repeat_ngram_size", "min_new_tokens")
    )
    if penalty is not None and penalty != 1.0:
        yield RepetitionPenaltyLogitsProcessor(penalty=penalty)
    if gram:
        yield NoRepeatNGramLogitsProcessor(gram)
    if least and options.get("eos_token_id"):
        yield MinNewTokensLengthLogitsProcessor(prompt, least, options["eos_token_id"], device=str(device))


def _warpers(top_k: int, temperature: float | None, top_p: float | None, min_p: float | None) -> Iterable[Any]:
    """What leaves unlikely tokens out, in the order of `generate`."""
    if temperature is not None and temperature != 1.0:
        yield TemperatureLogitsWarper(temperature)
    if top_k:
        yield TopKLogitsWarper(top_k)
    if top_p is not None and top_p < 1.0:
        yield TopPLogitsWarper(top_p)
    if min_p is not None:
        yield MinPLogitsWarper(min_p)
