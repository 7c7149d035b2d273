"""The summary of all that was learned, when a step has come to what was learned before."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lightadapt.adaptation.runner import Runner
from lightadapt.adaptation.training_summary import KnownClasses, TrainingSummary
from lightadapt.adaptation.vectors import base_learned, base_vectors
from lightadapt.stream.summary import COUNTED, MOST, count_labels, drawn, knows_labels
from lightadapt.stream.unknown import known_by_distance
from lightadapt.tasks import LabelledTask
from lightadapt.tasks.classification import Classification

OF_A_CLASS = 6
"""Vectors that a class of the step has, where it has as many records: a text of it then has five near ones."""


def joined(runner: Runner, before: TrainingSummary, examples: Sequence[Any], learned: int) -> TrainingSummary:
    """The summary of what was learned before and of a step that has been learned, as if of records drawn from both.

    A record of either has the same chance, so vectors and counts of what was learned before make room for those of the
    step. The base's vectors stay what they were. What tells texts of no class from others is found anew on their
    distances alone: the means and the confidences of before are those of the adaptation as it was then.

    Args:
        before: of what was learned before.
        examples: of the step.
        learned: how many records were learned before.
    """
    learned = max(learned, len(before.vectors), before.counted)
    rng = np.random.default_rng(runner.adaptation.design.seed)
    share = min(len(before.vectors) / learned, MOST / (learned + len(examples)))
    old = drawn(range(len(before.vectors)), math.ceil(share * learned), rng)
    sample = [examples[place] for place in _chosen(runner, examples, math.ceil(share * len(examples)), rng)]
    vectors = np.concatenate([before.vectors[old], base_vectors(runner, sample)])
    counts, counted = _counts(runner, before, examples, learned, rng)
    known = None if before.known is None else _known(runner, before.known, old, sample, vectors)
    return TrainingSummary(vectors, before.comparable and not base_learned(runner), counts, counted, known)


def _chosen(runner: Runner, examples: Sequence[Any], count: int, rng: np.random.Generator) -> list[int]:
    """The places of so many examples, and of more for classes of which too few are among them."""
    chosen = set(drawn(range(len(examples)), count, rng))
    if isinstance(runner.task, LabelledTask):
        classes = runner.task.classes_of(examples)
        have = Counter(label for place in chosen for label in classes[place])
        for place in map(int, rng.permutation(len(examples))):
            if place not in chosen and any(have[label] < OF_A_CLASS for label in classes[place]):
                chosen.add(place)
                have.update(classes[place])
    return sorted(chosen)


def _counts(
    runner: Runner, before: TrainingSummary, examples: Sequence[Any], learned: int, rng: np.random.Generator
) -> tuple[Mapping[str, int], int]:
    """Of how many records each label is, and how many were counted: of both the same share, and none is lost."""
    if not before.counted or not knows_labels(runner):
        return {}, 0
    assert isinstance(runner.task, LabelledTask)
    new = drawn(examples, COUNTED, rng)
    labels = count_labels({str(label) for label in each} for each in runner.task.classes_of(new))
    share = min(before.counted / learned, len(new) / len(examples))
    found: Counter[str] = Counter()
    for counts, of, all_of in ((before.counts, before.counted, learned), (labels, len(new), len(examples))):
        found.update({label: math.ceil(share * all_of * count / of) for label, count in counts.items()})
    return found, max(round(share * (learned + len(examples))), *found.values())


def _known(
    runner: Runner, before: KnownClasses, old: Sequence[int], sample: Sequence[Any], vectors: np.ndarray
) -> KnownClasses | None:
    """What tells texts of the classes from others, by the distances of the vectors from each other."""
    task = runner.task
    if not isinstance(task, Classification) or base_learned(runner):
        return None
    labels = task.outputs()
    numbers = [labels.index(before.labels[number]) for number in before.numbers[list(old)]]
    numbers += [labels.index(str(example.label)) for example in sample]
    return known_by_distance(vectors, np.array(numbers), labels)
