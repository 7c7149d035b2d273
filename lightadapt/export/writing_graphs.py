"""Graphs of models that write text: each reads tokens beside the keys and values of those before, and gives both on.

Inputs and outputs have the names that other tools give them: `past_key_values.0.key`, `present.0.key`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from lightadapt.adaptation.runner import Runner
from lightadapt.export.graphs import Graph
from lightadapt.runtime.writer import DECODER, ENCODER, MODEL

ROWS, LENGTH, PAST, READ = 2, 3, 4, 5
"""Sizes to trace with, all different, so that none is taken for another."""
STEP, BEFORE = {0: "batch", 1: "length"}, {0: "batch", 2: "past"}
"""What may vary in the tokens of a step `(B, T)`, and in the keys and values of those before it."""
Pair = tuple[Tensor, Tensor]
"""Keys and values of a layer: (batch, heads, tokens, width)."""


def is_pair(cache: Any) -> bool:
    """Whether it is the cache of an encoder-decoder: of what was written, and of what was read."""
    return isinstance(cache, EncoderDecoderCache)


def cache_of(model: PreTrainedModel) -> Any:
    """What a model keeps of two tokens; None where it keeps nothing."""
    ids = torch.ones((1, 2), dtype=torch.long, device=model.device)
    more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        given = model(input_ids=ids, use_cache=True, return_dict=True, **more)
    return next((given[name] for name in ("past_key_values", "cache_params", "state") if name in given), None)


def has_keys(cache: Any) -> bool:
    """Whether every layer keeps the keys and values of the two tokens of `cache_of`, and nothing else."""
    if is_pair(cache):
        return has_keys(cache.self_attention_cache) and has_keys(cache.cross_attention_cache)
    if not isinstance(cache, DynamicCache):
        return False
    pairs = [(getattr(layer, "keys", None), getattr(layer, "values", None)) for layer in cache.layers]
    return bool(pairs) and all(
        isinstance(part, Tensor) and part.ndim == 4 and part.shape[2] == 2 for pair in pairs for part in pair
    )


class _Decoder(nn.Module):
    """One step of a decoder: the logits of the given tokens, and the keys and values of all."""

    def __init__(self, model: PreTrainedModel, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, inputs: Sequence[Tensor], past: Sequence[Pair]) -> tuple[Tensor, list[Tensor]]:
        given = self.model(
            **dict(zip(self.names, inputs, strict=True)),
            past_key_values=_cache(past),
            use_cache=True,
            return_dict=True,
        )
        return given.logits.float(), _tensors(given.past_key_values)


class _Encoder(nn.Module):
    """What an encoder reads, as the keys and values that each layer of the decoder makes of it.

    One step of the decoder makes them; the rest of the step is not among the outputs, and goes.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> list[Tensor]:
        given = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            decoder_input_ids=input_ids[:, :1],
            use_cache=True,
            return_dict=True,
        )
        return _tensors(given.past_key_values.cross_attention_cache)


class _Writer(nn.Module):
    """One step of the decoder of an encoder-decoder."""

    def __init__(self, model: PreTrainedModel, width: int) -> None:
        super().__init__()
        self.model, self.width = model, width

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, past: Sequence[Pair], read: Sequence[Pair]
    ) -> tuple[Tensor, list[Tensor]]:
        shape = (*attention_mask.shape, self.width)  # only its shape is asked for: keys and values are there
        given = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=read[0][0].new_zeros(shape)),
            attention_mask=attention_mask,
            decoder_input_ids=input_ids,
            past_key_values=EncoderDecoderCache(_cache(past), _cache(read)),
            use_cache=True,
            return_dict=True,
        )
        return given.logits.float(), _tensors(given.past_key_values.self_attention_cache)


def _cache(pairs: Iterable[Pair]) -> DynamicCache:
    """A cache that keeps all tokens in all layers; what may attend to which is decided by the masks."""
    cache = DynamicCache()
    for number, (keys, values) in enumerate(pairs):
        cache.update(keys, values, number)
    return cache


def _tensors(cache: DynamicCache) -> list[Tensor]:
    return [part for layer in cache.layers for part in (layer.keys, layer.values)]


def _names(start: str, layers: int, kind: str = "") -> list[str]:
    return [f"{start}.{number}.{kind}{part}" for number in range(layers) for part in ("key", "value")]


def _ones(tokens: int) -> Tensor:
    return torch.ones((ROWS, tokens), dtype=torch.long)


def _like(cache: DynamicCache, tokens: int) -> list[Pair]:
    """Keys and values of so many tokens, in the heads and widths of a cache."""

    def fresh(part: Tensor) -> Tensor:
        return torch.zeros(ROWS, part.shape[1], tokens, part.shape[3], dtype=part.dtype)

    return [(fresh(layer.keys), fresh(layer.values)) for layer in cache.layers]


def writing_graphs(runner: Runner, model: PreTrainedModel) -> dict[str, Graph]:
    """The graphs that write a text with a model, by the names of their files."""
    cache = cache_of(model)
    if is_pair(cache):
        return _encoder_and_decoder(model, cache)
    return {MODEL: _decoder_alone(runner, model, cache)}


def _decoder_alone(runner: Runner, model: PreTrainedModel, cache: DynamicCache) -> Graph:
    names = ["input_ids", "attention_mask", *(["position_ids"] if "position_ids" in runner.accepted else [])]
    inputs = [_ones(LENGTH), _ones(PAST + LENGTH), torch.arange(LENGTH).repeat(ROWS, 1) + PAST]
    free = [STEP, {0: "batch", 1: "past and length"}, STEP]
    count = len(cache.layers)
    return Graph(
        _Decoder(model, names),
        (inputs[: len(names)], _like(cache, PAST)),
        (free[: len(names)], [(BEFORE, BEFORE)] * count),
        [*names, *_names("past_key_values", count)],
        ["logits", *_names("present", count)],
    )


def _encoder_and_decoder(model: PreTrainedModel, cache: EncoderDecoderCache) -> dict[str, Graph]:
    own, cross = cache.self_attention_cache, cache.cross_attention_cache
    count, given = len(own.layers), _ones(READ)
    source, read = {0: "batch", 1: "source"}, {0: "batch", 2: "source"}
    with torch.no_grad():
        width = model.get_encoder()(input_ids=given).last_hidden_state.shape[-1]
    return {
        ENCODER: Graph(
            _Encoder(model),
            (given, given.clone()),  # one tensor twice would be taken for one input
            (source, source),
            ["input_ids", "attention_mask"],
            _names("present", count, "encoder."),
        ),
        DECODER: Graph(
            _Writer(model, width),
            (_ones(LENGTH), given, _like(own, PAST), _like(cross, READ)),
            (STEP, source, [(BEFORE, BEFORE)] * count, [(read, read)] * count),
            [
                *("input_ids", "encoder_attention_mask"),
                *_names("past_key_values", count, "decoder."),
                *_names("past_key_values", count, "encoder."),
            ],
            ["logits", *_names("present", count, "decoder.")],
        ),
    }
