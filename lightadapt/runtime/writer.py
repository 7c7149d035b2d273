"""Text from exported graphs, token by token, each time the likeliest; and how likely they find a given text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from lightadapt.tasks.encoding.features import IGNORED

MODEL, ENCODER, DECODER = "model", "encoder_model", "decoder_model"
"""The names of the graphs; their files have an end that says for what they are."""

Arrays: TypeAlias = "dict[str, np.ndarray]"
Stopped: TypeAlias = "Callable[[Sequence[int]], bool]"
"""Whether a text ends behind these tokens, for another reason than an end token."""


class Step:
    """A graph that reads tokens beside the keys and values of those before them."""

    def __init__(self, session: Any) -> None:
        inputs = session.get_inputs()
        self.session = session
        self.takes = {each.name for each in inputs}
        self._empty = {
            each.name: (each.shape[1], each.shape[3])
            for each in inputs
            if each.name.startswith("past_key_values.") and ".encoder." not in each.name
        }
        self._gives = [each.name for each in session.get_outputs()]

    def nothing(self, rows: int) -> Arrays:
        """The keys and values of no tokens, for so many rows."""
        return {
            name: np.zeros((rows, heads, 0, width), dtype=np.float32) for name, (heads, width) in self._empty.items()
        }

    def run(self, given: Mapping[str, np.ndarray], past: Arrays) -> tuple[np.ndarray, Arrays]:
        """The logits `(B, T, V)` of the given tokens, and the keys and values of all."""
        feed = {name: value for name, value in given.items() if name in self.takes}
        logits, *present = self.session.run(self._gives, {**feed, **past})
        return logits, as_past(self._gives[1:], present)


def as_past(names: Sequence[str], values: Sequence[np.ndarray]) -> Arrays:
    """What a graph gave, by the names under which the next step takes it."""
    return {
        f"past_key_values.{name.removeprefix('present.')}": value for name, value in zip(names, values, strict=True)
    }


class DecoderWriter:
    """A decoder that goes on behind prompts."""

    def __init__(self, sessions: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        self._step = Step(sessions[MODEL])
        self._facts = facts

    def write(self, prompts: Sequence[Sequence[int]], *, most: int, padding: int, stopped: Stopped) -> list[list[int]]:
        """At most so many tokens behind each prompt, which are padded on the left so that texts go on."""
        length = max(map(len, prompts))
        ids = np.array([[padding] * (length - len(row)) + list(row) for row in prompts], dtype=np.int64)
        mask = np.array([[0] * (length - len(row)) + [1] * len(row) for row in prompts], dtype=np.int64)
        past = self._step.nothing(len(prompts))

        def step(tokens: np.ndarray | None) -> np.ndarray:
            nonlocal past, mask
            if tokens is not None:
                mask = np.concatenate([mask, np.ones_like(tokens)], axis=1)
            given = ids if tokens is None else tokens
            logits, past = self._step.run(_decoder_inputs(given, mask), past)
            return logits[:, -1]

        return _greedily(step, len(prompts), most, self._facts, padding, stopped)

    def likelihoods(self, batch: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The sum of the log probabilities of the labels of each row `(B,)`, and their number `(B,)`."""
        ids, labels = batch["input_ids"], batch["labels"]
        logits, _ = self._step.run(_decoder_inputs(ids, batch["attention_mask"]), self._step.nothing(len(ids)))
        return _likelihoods(logits[:, :-1], labels[:, 1:])  # each is told at the position before

    def logits(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """The logits `(B, T, V)` at every position of a batch."""
        ids = batch["input_ids"]
        return self._step.run(_decoder_inputs(ids, batch["attention_mask"]), self._step.nothing(len(ids)))[0]


class EncoderDecoderWriter:
    """An encoder that reads prompts, and a decoder that writes what is asked for."""

    def __init__(self, sessions: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        self._encoder, self._step = sessions[ENCODER], Step(sessions[DECODER])
        self._facts = facts

    def _read(self, ids: np.ndarray, mask: np.ndarray) -> Arrays:
        names = [each.name for each in self._encoder.get_outputs()]
        return as_past(names, self._encoder.run(names, {"input_ids": ids, "attention_mask": mask}))

    def write(self, prompts: Sequence[Sequence[int]], *, most: int, padding: int, stopped: Stopped) -> list[list[int]]:
        """At most so many tokens for each prompt, without the one that starts the decoder."""
        length, rows = max(map(len, prompts)), len(prompts)
        ids = np.array([list(row) + [padding] * (length - len(row)) for row in prompts], dtype=np.int64)
        mask = np.array([[1] * len(row) + [0] * (length - len(row)) for row in prompts], dtype=np.int64)
        read, past = self._read(ids, mask), self._step.nothing(rows)
        start = self._facts["starts"]

        def step(tokens: np.ndarray | None) -> np.ndarray:
            nonlocal past
            given = np.full((rows, 1), start, dtype=np.int64) if tokens is None else tokens
            logits, past = self._step.run({"input_ids": given, "encoder_attention_mask": mask, **read}, past)
            return logits[:, -1]

        most = min(most, self._facts["most"] or most)
        return _greedily(step, rows, most, self._facts, padding, stopped)

    def likelihoods(self, batch: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The sum of the log probabilities of the labels of each row `(B,)`, and their number `(B,)`."""
        return _likelihoods(self.logits(batch), batch["labels"])

    def logits(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """The logits `(B, T, V)` for each of the labels of a batch."""
        ids, mask, labels = batch["input_ids"], batch["attention_mask"], batch["labels"]
        start, real = self._facts["start"], labels != IGNORED
        ends = labels[np.arange(len(labels)), real.sum(-1) - 1]
        first = ends if start is None else np.full(len(labels), start, dtype=np.int64)
        shifted = np.concatenate([first[:, None], np.where(real, labels, 0)[:, :-1]], axis=1)
        given = {"input_ids": shifted, "encoder_attention_mask": mask, **self._read(ids, mask)}
        return self._step.run(given, self._step.nothing(len(ids)))[0]


def _decoder_inputs(ids: np.ndarray, mask: np.ndarray) -> Arrays:
    """Tokens `(B, T)`, of which those before them and they themselves count by a mask `(B, P + T)`."""
    positions = (mask.cumsum(-1) - 1).clip(0)[:, -ids.shape[1] :]
    return {"input_ids": ids, "attention_mask": mask, "position_ids": positions}


def _greedily(
    step: Callable[[np.ndarray | None], np.ndarray],
    rows: int,
    most: int,
    facts: Mapping[str, Any],
    padding: int,
    stopped: Stopped,
) -> list[list[int]]:
    """The likeliest tokens, up to an end or so many.

    Args:
        step: the logits `(B, V)` behind tokens `(B, 1)`; behind the prompts for None.
        facts: the tokens that end a text, that are never written, and that must come first and last.
    """
    written: list[list[int]] = [[] for _ in range(rows)]
    going, tokens = list(range(rows)), None
    ends: Collection[int] = set(facts["ends"])
    for number in range(most):
        logits = step(tokens)
        logits[:, facts["never"]] = -np.inf
        chosen = logits.argmax(-1)
        forced = facts.get("last") if number == most - 1 else None
        forced = facts.get("first") if number == 0 and facts.get("first") is not None else forced
        if forced is not None:
            chosen[:] = forced[0] if isinstance(forced, list) else forced
        for row in going:
            written[row].append(int(chosen[row]))
        going = [row for row in going if written[row][-1] not in ends and not stopped(written[row])]
        if not going:
            break
        tokens = np.full((rows, 1), padding, dtype=np.int64)
        tokens[going, 0] = chosen[going]
    return written


def _likelihoods(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the labels `(B, T)` that count, by logits `(B, T, V)`."""
    counted = labels != IGNORED
    highest = logits.max(-1)
    totals = highest + np.log(np.exp(logits - highest[..., None]).sum(-1))
    told = np.take_along_axis(logits, np.where(counted, labels, 0)[..., None], axis=-1)[..., 0]
    return np.where(counted, told - totals, 0.0).sum(-1), counted.sum(-1)
