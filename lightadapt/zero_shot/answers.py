"""How likely each of several answers follows a prompt, by a language model that reads the prompt once for all."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch.nn.functional import log_softmax
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.modeling_outputs import BaseModelOutput

from lightadapt.tasks.encoding.features import IGNORED, pad

LOGITS = 2**25
"""The most logits that are computed at once; a large vocabulary times many answers would fill the memory."""


def mean_log_likelihoods(model: PreTrainedModel, prompt: Sequence[int], answers: Sequence[Sequence[int]]) -> np.ndarray:
    """`(A,)`: the mean over the tokens of each answer of log p(token | prompt, tokens before it), of a decoder.

    The mean, since a sum would prefer short answers (Brown et al. 2020, section 2.4).
    """
    ids = torch.tensor([list(prompt)], device=model.device)
    only_last = {"logits_to_keep": 1} if "logits_to_keep" in signature(model.forward).parameters else {}
    given = model(input_ids=ids, use_cache=True, **only_last)
    first = log_softmax(given.logits[0, -1].float(), -1)
    totals = np.array([float(first[answer[0]]) for answer in answers])
    longer = [number for number, answer in enumerate(answers) if len(answer) > 1]
    cache = given.get("past_key_values")
    for chosen in _in_parts(longer, max(map(len, answers)), len(first)):
        rows = [list(answers[number]) for number in chosen]
        logits = _after(model, prompt, cache, [row[:-1] for row in rows])
        totals[chosen] += _sums(logits, [row[1:] for row in rows])
    return _per_token(totals, list(map(len, answers)))


def mean_log_likelihoods_of_targets(
    model: PreTrainedModel, source: Sequence[int], targets: Sequence[Sequence[int]], uncounted: frozenset[int]
) -> np.ndarray:
    """As `mean_log_likelihoods`, of an encoder-decoder, whose encoder reads the source once.

    Args:
        uncounted: the special tokens that frame every target, which say nothing of it.
    """
    ids = torch.tensor([list(source)], device=model.device)
    mask = torch.ones_like(ids)
    states = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state  # (1, T, width)
    counted = [[IGNORED if token in uncounted else token for token in target] for target in targets]
    totals = np.zeros(len(targets))
    width = model.config.get_text_config().vocab_size
    for chosen in _in_parts(range(len(targets)), max(map(len, targets)), width):
        rows = torch.from_numpy(pad([list(targets[number]) for number in chosen], IGNORED)).to(model.device)
        given = model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states.expand(len(chosen), -1, -1)),
            attention_mask=mask.expand(len(chosen), -1),
            labels=rows,
        )
        totals[chosen] = _sums(given.logits, [counted[number] for number in chosen])
    return _per_token(totals, [sum(token != IGNORED for token in target) for target in counted])


def _per_token(totals: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    found: np.ndarray = totals / np.array(counts)
    return found


def _in_parts(numbers: Sequence[int], length: int, width: int) -> Iterator[list[int]]:
    """As many at once as give `LOGITS` logits at most."""
    size = max(1, LOGITS // (length * width))
    for start in range(0, len(numbers), size):
        yield list(numbers[start : start + size])


def _after(model: PreTrainedModel, prompt: Sequence[int], cache: Any, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """The logits `(A, L, V)` at rows of tokens behind a prompt.

    Rows are padded on the right, where nothing looks. What has another state than keys and values, as state-space
    models have, reads the prompt again for every row.
    """
    if _is_of_keys_and_values(cache):
        own = copy.deepcopy(cache)  # it grows
        own.batch_repeat_interleave(len(rows))
        ids = torch.from_numpy(pad([list(row) for row in rows], 0)).to(model.device)
        return model(input_ids=ids, past_key_values=own, use_cache=True).logits  # type: ignore[no-any-return]
    ids = torch.from_numpy(pad([[*prompt, *row] for row in rows], 0)).to(model.device)
    return model(input_ids=ids, use_cache=False).logits[:, len(prompt) :]  # type: ignore[no-any-return]


def _is_of_keys_and_values(cache: Any) -> bool:
    plain = (DynamicLayer, DynamicSlidingWindowLayer)
    return type(cache) is DynamicCache and all(type(layer) in plain for layer in cache.layers)


def _sums(logits: torch.Tensor, tokens: Sequence[Sequence[int]]) -> np.ndarray:
    """The sum over each row of the log probabilities of its tokens, `(A,)`."""
    wanted = torch.from_numpy(pad([list(row) for row in tokens], IGNORED)).to(logits.device)  # (A, L)
    logs = log_softmax(logits[:, : wanted.shape[1]].float(), -1)
    picked = logs.gather(-1, wanted.clamp(min=0)[..., None])[..., 0]
    return picked.masked_fill(wanted == IGNORED, 0.0).sum(1).cpu().numpy()  # type: ignore[no-any-return]
