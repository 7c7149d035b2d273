"""Whether texts have moved away from the data that an adaptation was trained on.

Two questions are asked, each at half the level, so that both together raise a false alarm as rarely as the level says:

- Are there texts unlike all that were learned? The mean distance to the nearest kept texts, against what it is when the
  same number is drawn by chance from both (a permutation test).
- Are there more or fewer of some kind than before? For tasks with labels, the share of each label (Fisher's exact test,
  corrected for their number after Holm 1979); for others, the energy distance of the vectors (Székely and Rizzo 2013).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lightadapt.adaptation.requests import Asked, Request, read_asked
from lightadapt.adaptation.runner import Runner
from lightadapt.adaptation.training_summary import TrainingSummary
from lightadapt.adaptation.vectors import base_vectors
from lightadapt.data import Data
from lightadapt.data.skipping import BadRecords
from lightadapt.errors import DataError, LightAdaptError
from lightadapt.numbers import is_number
from lightadapt.stream.findings import Drift, NewText, ShareChange
from lightadapt.stream.summary import (
    LEAST,
    count_labels,
    knows_labels,
    predicted_labels,
    predictions_of,
    summarize_data,
)

FEWEST = 20
"""Texts below which chance and change cannot be told apart."""
NEIGHBOURS = 5
"""How many of the nearest kept texts the distance of a text is the mean to."""
QUANTILE = 0.95
"""The part of the training data that lies nearer to the rest of it than a text that counts as unlike it."""
DRAWS = 999
"""By chance, in each test."""
MOST = 1_000
"""Texts that the energy distance is computed on."""
SHOWN = 20
"""Texts that a result holds as examples of what is new."""


def find_drift(
    runner: Runner,
    texts: Any,
    *,
    reference: Data | None,
    columns: Mapping[str, str | int] | None,
    level: float,
    bad: BadRecords,
) -> Drift:
    """How texts differ from the training data, or from other data; see `Adapted.drift`.

    Raises:
        DataError: a text cannot be used, or there are too few.
        LightAdaptError: nothing is kept of the training data, and no data to compare with is given.
    """
    if not is_number(level) or not 0 < level < 1:
        raise LightAdaptError(f"level={level!r}: give the share of false alarms that is accepted, such as 0.05.")
    asked = read_asked(runner, texts, Request(columns=columns), bad, "drift({})")
    if len(asked.examples) < FEWEST:
        raise DataError(
            f"drift: {len(asked.examples)} texts are too few to tell change from chance. Give at least {FEWEST}."
        )
    kept = _kept(runner) if reference is None else _compared(runner, reference, columns)
    vectors, labels = base_vectors(runner, asked.examples), None
    if kept.counted and knows_labels(runner):
        labels = predicted_labels(runner, asked.examples, predictions_of(runner, asked.examples))
    found = compare(kept, vectors, labels, seed=runner.adaptation.design.seed)
    p_value = min(1.0, 2 * min(found.p_values.values()))
    unlike = np.flatnonzero(found.distances > found.limit)
    return Drift(
        drifted=p_value <= level,
        p_value=p_value,
        p_values=found.p_values,
        unlike=len(unlike) / len(vectors),
        texts=len(vectors),
        shares=[each for each in found.changes if 2 * each.p_value <= level],
        examples=_most_unlike(runner, asked, unlike, found.distances),
    )


class Difference(NamedTuple):
    """What is found between a summary and the vectors of texts."""

    p_values: dict[str, float]
    """Of both tests."""
    distances: np.ndarray
    """`(N,)`, of each text to the nearest of what is kept."""
    limit: float
    """The distance from which a text counts as unlike what is kept."""
    changes: list[ShareChange]


def compare(
    kept: TrainingSummary, vectors: np.ndarray, labels: Sequence[set[str]] | None, *, seed: int = 0
) -> Difference:
    """How texts differ from what the summary is of.

    Args:
        vectors: of the texts, `(N, width)`.
        labels: that are predicted for each; None where there are none to compare.
    """
    rng = np.random.default_rng(seed)
    usual, distances = distances_within(kept.vectors), distances_to(kept.vectors, vectors)
    p_values = {"new texts": p_of_mean(usual, distances, rng)}
    changes: list[ShareChange] = []
    if labels is None:
        p_values["mixture"] = p_of_energy(kept.vectors, vectors, rng)
    else:
        changes = share_changes(kept.counts, kept.counted, count_labels(labels), len(labels))
        p_values["labels"] = min((each.p_value for each in changes), default=1.0)
    return Difference(p_values, distances, float(np.quantile(usual, QUANTILE)), changes)


def _most_unlike(runner: Runner, asked: Asked, unlike: np.ndarray, distances: np.ndarray) -> list[NewText]:
    """The texts of these numbers, the farthest first, each once."""
    found: dict[str, NewText] = {}
    for index in sorted(map(int, unlike), key=lambda index: -distances[index]):
        text = runner.task.text_of(asked.records.items[index])
        found.setdefault(text, NewText(asked.records.number(index), text, float(distances[index])))
    return list(found.values())[:SHOWN]


def _kept(runner: Runner) -> TrainingSummary:
    """The summary of the training data.

    Raises:
        LightAdaptError: there is none, or the texts of it cannot be compared with others.
    """
    kept = runner.last_run.summary
    if kept is None:
        raise LightAdaptError(
            f"drift: nothing is kept of the training data to compare with. fit on {LEAST} records or more keeps it, "
            "extend goes on with it, and save saves it; your own loop, summary=False, a checkpoint, a step before the "
            "last and an earlier version do not. Give data like that of the training: drift(texts, "
            "reference=data)."
        )
    if not kept.comparable:
        raise LightAdaptError(
            f"drift: method {runner.adaptation.design.method.name!r} trained the base itself, so texts that it learned "
            "by heart look unlike all others. Give data that it was not trained on: drift(texts, reference=data)."
        )
    return kept


def _compared(runner: Runner, reference: Data, columns: Mapping[str, str | int] | None) -> TrainingSummary:
    """The summary of data to compare with.

    Raises:
        DataError: a record cannot be used, or there are too few.
    """
    call, request = "drift(texts, reference={})", Request(columns=columns)
    asked = read_asked(runner, reference, request, BadRecords(), call, called="reference")
    if len(asked.examples) < LEAST:
        raise DataError(f"drift: reference has {len(asked.examples)} records. Give at least {LEAST}.")
    return summarize_data(runner, asked.examples)


# ---- texts unlike all that were learned


def distances_to(kept: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """1 minus the mean cosine of each vector with the nearest of those that are kept, `(N,)`."""
    pieces = np.array_split(vectors, len(vectors) // MOST + 1)
    return np.concatenate([_to_nearest(piece @ kept.T) for piece in pieces])


def distances_within(kept: np.ndarray) -> np.ndarray:
    """Likewise of each that is kept with the others, `(N,)`."""
    cosines = kept @ kept.T
    np.fill_diagonal(cosines, -2)
    return _to_nearest(cosines)


def _to_nearest(cosines: np.ndarray) -> np.ndarray:
    found: np.ndarray = 1 - np.partition(cosines, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:].mean(1)
    return found


def p_of_mean(usual: np.ndarray, found: np.ndarray, rng: np.random.Generator) -> float:
    """How often as many values drawn by chance from both have a mean as high as those that were found."""
    both = np.concatenate([usual, found])
    means = [rng.permutation(both)[: len(found)].mean() for _ in range(DRAWS)]
    return _p_of(means, float(found.mean()))


# ---- more or fewer of some kind


def share_changes(before: Mapping[str, int], of: int, now: Mapping[str, int], texts: int) -> list[ShareChange]:
    """The change of each label's share, the least likely by chance first.

    Args:
        before: how many records had each label.
        of: how many records there were.
        now: how many texts have it.
        texts: how many texts there are.
    """
    from scipy.stats import fisher_exact

    found = []
    for label in sorted({*before, *now}):
        then, these = before.get(label, 0), now.get(label, 0)
        chance = float(fisher_exact([[these, texts - these], [then, of - then]]).pvalue)
        found.append((chance, label, then / of, these / texts))
    found.sort()
    changes, highest = [], 0.0
    for rank, (chance, label, share_then, share_now) in enumerate(found):
        highest = max(highest, min(1.0, chance * (len(found) - rank)))
        changes.append(ShareChange(label, share_then, share_now, highest))
    return changes


def p_of_energy(kept: np.ndarray, vectors: np.ndarray, rng: np.random.Generator) -> float:
    """How often a division of all vectors by chance has an energy distance as large as that into kept and new ones.

    It is 2 E|X - Y| - E|X - X'| - E|Y - Y'|.
    """
    new = vectors if len(vectors) <= MOST else vectors[rng.choice(len(vectors), MOST, replace=False)]
    both = np.concatenate([kept, new]).astype(np.float32)
    distances = np.sqrt(np.maximum(2 - 2 * both @ both.T, 0))
    is_new = np.arange(len(both)) >= len(kept)
    energies = [_energy(distances, is_new)]
    energies += [_energy(distances, rng.permutation(is_new)) for _ in range(DRAWS)]
    return _p_of(energies[1:], energies[0])


def _energy(distances: np.ndarray, is_new: np.ndarray) -> float:
    weights = np.where(is_new, 1 / is_new.sum(), -1 / (~is_new).sum()).astype(np.float32)
    return -float(weights @ distances @ weights)


def _p_of(drawn: Sequence[float], found: float) -> float:
    """The part of what was drawn by chance that reaches what was found, which counts as drawn, too."""
    # Sums in another order differ in their last digits.
    return float((1 + sum(value >= found - 1e-7 for value in drawn)) / (len(drawn) + 1))
