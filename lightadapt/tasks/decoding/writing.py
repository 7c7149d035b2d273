"""What a language model writes behind prompts, and the options that say how."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lightadapt.errors import LightAdaptError, nearest
from lightadapt.numbers import check_whole
from lightadapt.tasks.decoding.bounds import as_transformers_takes, check_bounds
from lightadapt.tasks.encoding.features import filler
from lightadapt.tasks.encoding.sequences import new_tokens
from lightadapt.tasks.encoding.view import ModelView

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GREEDY = {"num_beams": 1, "min_length": 0, "no_repeat_ngram_size": 0, "repetition_penalty": 1.0}
"""What a checkpoint may say otherwise, for the data that it was made for."""
USUAL = ("num_beams", "temperature", "top_p", "do_sample", "stop_strings", "repetition_penalty")
"""Options that are known without asking transformers."""
ONE_TEXT = (
    "num_return_sequences",
    "return_dict_in_generate",
    "output_scores",
    "output_logits",
    "output_attentions",
    "prompt_lookup_num_tokens",
)
"""Options that give something else than one text for each prompt of a batch."""


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
    call: str | None = None
    """What is to be written where the reply calls tools and has no text."""


def write_on(
    model: PreTrainedModel, prompts: Sequence[list[int]], view: ModelView, options: Mapping[str, Any]
) -> list[list[int]]:
    """The tokens that follow each prompt; prompts of a decoder are padded on the left, so that the text goes on.

    Args:
        options: of transformers' `generate`.
    """
    import torch

    length = max(map(len, prompts))
    padding = filler("input_ids", view.tokenizer)
    left = view.family == "decoder"

    def padded(row: list[int], value: int) -> list[int]:
        rest = [value] * (length - len(row))
        return rest + row if left else row + rest

    ids = torch.tensor([padded(prompt, padding) for prompt in prompts], device=model.device)
    mask = torch.tensor([padded([1] * len(prompt), 0) for prompt in prompts], device=model.device)
    given = model.generate(  # type: ignore[operator]
        input_ids=ids, attention_mask=mask, tokenizer=view.tokenizer, **options
    )
    return [row[length:].tolist() if left else row.tolist() for row in given]


def check_options(options: Mapping[str, Any]) -> None:
    """Raise for options of generation that transformers does not know, or that have no meaning here."""
    if not isinstance(options, Mapping):
        raise LightAdaptError(f"options is a {type(options).__name__}. Give a dict such as {{'num_beams': 4}}.")
    known: Collection[str] = USUAL
    if not set(options) <= set(USUAL):
        from transformers import GenerationConfig

        known = GenerationConfig().to_dict().keys()
    for name in options:
        if name not in known:
            raise LightAdaptError(
                f"options holds {name!r}, which generation does not know. {nearest(str(name), known)}Such as: "
                f"{', '.join(USUAL)}."
            )
        if name in ONE_TEXT:
            raise LightAdaptError(
                f"options holds {name!r}, but a prediction is one text for each prompt. Leave it out."
            )
        if name == "max_length":
            raise LightAdaptError("options holds max_length, which counts the prompt, too. Give max_new_tokens.")
        if name == "max_new_tokens":
            raise LightAdaptError("options holds max_new_tokens, which is an option of the task itself: set that.")
    beams, stops = options.get("num_beams", 1), options.get("stop_strings", ["."])
    check_whole("num_beams", beams, wanted="a whole number above 0")
    stops = [stops] if isinstance(stops, str) else stops
    if not isinstance(stops, (list, tuple)) or not stops or not all(isinstance(stop, str) and stop for stop in stops):
        raise LightAdaptError(f"stop_strings={stops!r}: give a text or a list of texts.")
    check_bounds(options)


def generation_options(
    model: PreTrainedModel, view: ModelView, chosen: Mapping[str, Any], most: int, ends: Collection[int]
) -> dict[str, Any]:
    """What `generate` is told: greedy unless sampling is asked for, up to an end token or so many tokens.

    Args:
        chosen: the options of the caller.
        most: the most tokens to write.
        ends: the tokens with which a sequence can end, beside those that the model itself names.
    """
    from lightadapt.anatomy import positions_of

    sampled = any(chosen.get(name) is not None for name in ("temperature", "top_p", "top_k", "min_p"))
    own = model.generation_config.eos_token_id if model.generation_config is not None else None
    ends = set(ends) | set(own if isinstance(own, list) else [own]) - {None}
    if view.family == "decoder":
        most = new_tokens(most, view)  # the same whatever else is in the batch
    elif (positions := positions_of(model)) is not None:  # T5 counts none
        most = min(most, positions - 1)  # the first one starts the decoder
    return {
        **GREEDY,
        "do_sample": sampled,
        "pad_token_id": view.tokenizer.pad_token_id,
        "eos_token_id": sorted(ends) or None,
        **as_transformers_takes(chosen),
        "max_new_tokens": most,
    }
