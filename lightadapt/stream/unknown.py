"""Texts that belong to none of the classes that were learned, told by where they lie among those that were.

Three things speak for it, each counted from its mean on known texts in units of its spread, and added up:

- `nearest`: 1 minus the cosine with the nearest of the kept vectors of the predicted class, in the base's own space
  (after Sun et al. 2022, arxiv.org/abs/2204.06507);
- `mean`: 1 minus the cosine with the nearest mean of a class, in the adapted space (after Lee et al. 2018,
  arxiv.org/abs/1807.03888, without their covariance, which made it worse);
- `margin`: how near the second class comes to the first, as the log of their probabilities' ratio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lightadapt.adaptation.requests import Request, read_asked
from lightadapt.adaptation.runner import Runner
from lightadapt.adaptation.training_summary import KnownClasses, TrainingSummary
from lightadapt.adaptation.vectors import base_learned, base_vectors, vectors_of
from lightadapt.data.skipping import BadRecords
from lightadapt.errors import LightAdaptError
from lightadapt.heads.pooling import of_length_one
from lightadapt.tasks import Label
from lightadapt.tasks.classification import Classification

UNKNOWN = "unknown"
"""What the score is called among those of the classes."""
QUANTILE = 0.95
"""The part of known texts that is to be answered."""
ENOUGH = 30
"""Held-out records from which the limit is found on them."""
PIECE = 4_096
"""Texts whose cosines with all kept vectors are in memory at once."""


def learn_known(
    runner: Runner,
    sample: Sequence[Any],
    vectors: np.ndarray,
    held_out: Sequence[Any] | None,
    predictions: Sequence[Mapping[Label, float]] | None,
) -> KnownClasses | None:
    """What tells texts of the classes from others; None where the task has no classes, or nothing to find a limit on.

    The limit is found on held-out records. Without them, or with few, it is found on the distances of the base's
    vectors from each other alone: the rest of the score is not the same for what was learned by heart.

    Args:
        sample: examples that were learned.
        vectors: of the base for these, `(N, width)`.
        held_out: examples that were not.
        predictions: for the latter.
    """
    task = runner.task
    if not isinstance(task, Classification) or not task.ready or runner.adaptation.head.is_untouched:
        return None
    labels = task.outputs()
    numbers = np.array([labels.index(str(example.label)) for example in sample])
    if held_out is not None and predictions is not None and len(held_out) >= ENOUGH:
        means = _means(vectors_of(runner, sample), numbers, len(labels))
        parts = _parts(runner, vectors, numbers, means, held_out, predictions)
        return _with_limit(parts, numbers, means, labels, held_out=True)
    if base_learned(runner):
        return None
    return known_by_distance(vectors, numbers, labels)


def known_by_distance(vectors: np.ndarray, numbers: np.ndarray, labels: Sequence[str]) -> KnownClasses:
    """What tells texts of the classes from others by the distances of the base's vectors from each other.

    Args:
        vectors: of the base for what was learned, `(N, width)`.
        numbers: of their classes, `(N,)`.
        labels: the names of all classes, by their numbers.
    """
    distances = nearest(vectors, vectors, numbers, numbers, leave_out=True)
    return _with_limit(distances[:, None], numbers, _means(vectors, numbers, len(labels)), labels, held_out=False)


def answer_known(
    runner: Runner, inputs: Any, request: Request, bad: BadRecords, *, numbers: Sequence[int] | None = None
) -> list[Any]:
    """The predictions as `predict` gives them, with None for what belongs to no known class; see `Adapted.predict`.

    With scores, each has `"unknown"`, too: 0.5 at the limit, towards 1 the farther a text is from what was learned.

    Args:
        numbers: as in `answer`.

    Raises:
        DataError: an input cannot be used.
        LightAdaptError: the task has no classes, or there is nothing to tell by.
    """
    summary = check_known(runner, scores=request.scores)
    known = summary.known
    assert known is not None
    asked = read_asked(runner, inputs, request, bad, numbers=numbers)
    if not len(asked.examples):
        return asked.answers((), scores=request.scores)
    given = runner.predict(asked.examples, asked.records, task=asked.task, batch_tokens=request.batch_tokens)
    predictions = list(given)
    values = score(runner, summary.vectors, known, asked.examples, predictions)
    found: dict[int, Any] = {}
    for index, (example, prediction) in enumerate(zip(asked.examples, predictions, strict=True)):
        excess = float(values[index]) - known.limit
        answer: Any = None if excess > 0 else asked.task.present(example, prediction, scores=False)
        if request.scores:
            answer = {**prediction, UNKNOWN: 0.5 * (1 + float(np.tanh(excess / 2)))}
        found[asked.records.number(index)] = answer
    return [found.get(number) for number in asked.numbers]


def score(
    runner: Runner,
    vectors: np.ndarray,
    known: KnownClasses,
    examples: Sequence[Any],
    predictions: Sequence[Mapping[Label, float]],
) -> np.ndarray:
    """`(N,)`: how much speaks for each example being of no known class; higher is more."""
    if len(known.usual) == 1:
        base = base_vectors(runner, examples)
        parts = nearest(base, vectors, known.numbers, _predicted(predictions))[:, None]
    else:
        parts = _parts(runner, vectors, known.numbers, known.means, examples, predictions)
    return _sum_of(parts, known.usual)


def nearest(
    vectors: np.ndarray, kept: np.ndarray, numbers: np.ndarray, predicted: np.ndarray, *, leave_out: bool = False
) -> np.ndarray:
    """1 minus the cosine of each vector with the nearest kept one of its class, `(N,)`; of any where it has none.

    Args:
        numbers: of the classes of what is kept.
        predicted: the class of each vector.
        leave_out: whether the vectors are those that are kept, so that none is compared with itself.
    """
    found = []
    for start in range(0, len(vectors), PIECE):
        cosines = vectors[start : start + PIECE] @ kept.T
        if leave_out:
            places = np.arange(len(cosines))
            cosines[places, places + start] = -2
        same = np.where(numbers[None] == predicted[start : start + PIECE, None], cosines, -2).max(1)
        found.append(1 - np.where(same > -2, same, cosines.max(1)))
    distances: np.ndarray = np.concatenate(found)
    return distances


def _parts(
    runner: Runner,
    vectors: np.ndarray,
    numbers: np.ndarray,
    means: np.ndarray,
    examples: Sequence[Any],
    predictions: Sequence[Mapping[Label, float]],
) -> np.ndarray:
    """`(N, 3)`: what speaks for each example being of no known class, in the order of `PARTS`."""
    base = base_vectors(runner, examples)
    logs = np.sort(np.log(np.maximum([[*each.values()] for each in predictions], 1e-12)), axis=1)
    return np.stack(
        [
            nearest(base, vectors, numbers, _predicted(predictions)),
            1 - (vectors_of(runner, examples) @ means.T).max(1),
            logs[:, -2] - logs[:, -1],
        ],
        axis=1,
    )


def _predicted(predictions: Sequence[Mapping[Label, float]]) -> np.ndarray:
    """The numbers of the most probable classes, `(N,)`."""
    numbers: np.ndarray = np.array([[*each.values()] for each in predictions]).argmax(1)
    return numbers


def _means(vectors: np.ndarray, numbers: np.ndarray, classes: int) -> np.ndarray:
    """The mean vector of each class, `(K, width)`, of length one; zeros for one that has none."""
    sums = np.zeros((classes, vectors.shape[1]), dtype=np.float32)
    np.add.at(sums, numbers, vectors)
    return of_length_one(sums)


def _with_limit(
    parts: np.ndarray, numbers: np.ndarray, means: np.ndarray, labels: Sequence[str], *, held_out: bool
) -> KnownClasses:
    """What was found, with the limit that known texts stay below but for one in twenty."""
    usual = tuple((float(part.mean()), max(float(part.std()), 1e-6)) for part in parts.T)
    limit = float(np.quantile(_sum_of(parts, usual), QUANTILE))
    return KnownClasses(numbers, means, tuple(labels), usual, limit, held_out)


def _sum_of(parts: np.ndarray, usual: Sequence[tuple[float, float]]) -> np.ndarray:
    center, spread = np.array(usual).T
    total: np.ndarray = ((parts - center) / spread).sum(1)
    return total


def check_known(runner: Runner, *, scores: bool) -> TrainingSummary:
    """What the training left to tell by.

    Raises:
        LightAdaptError: there is nothing, and why.
    """
    task, summary = runner.task, runner.last_run.summary
    if not isinstance(task, Classification):
        raise LightAdaptError(
            f"predict(…, unknown=True) is for tasks with one class a record, and {task.name!r} is none. Leave it out."
        )
    runner.require_labels()
    if summary is None or summary.known is None:
        raise LightAdaptError(
            "predict(…, unknown=True): nothing is known of the texts that were learned. fit(…, validation=0.1) with 50 "
            "records or more keeps what it takes; your own loop, summary=False, a checkpoint, a step before the last "
            "and an earlier version do not."
        )
    if summary.known.labels != task.outputs():
        raise LightAdaptError(
            "predict(…, unknown=True): the labels have changed since the last fit. Fit again with records of all first."
        )
    if scores and UNKNOWN in map(str, task.labels or ()):
        raise LightAdaptError(
            "predict(…, unknown=True, scores=True): a class is called 'unknown', as the score is. Leave scores out."
        )
    return summary
