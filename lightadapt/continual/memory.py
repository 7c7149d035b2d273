"""A few records of each class that are kept, to be learned again in later steps: how many, and which."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from lightadapt.adaptation.past import Past, Remembered, plain_record
from lightadapt.adaptation.runner import Runner
from lightadapt.adaptation.vectors import vectors_of
from lightadapt.data import Records
from lightadapt.errors import LightAdaptError
from lightadapt.heads.pooling import of_length_one
from lightadapt.numbers import check_whole
from lightadapt.tasks import LabelledTask

MOST = 10_000
"""Records that are kept at most: they are learned again in every step, and lie in the artifact."""
WITHOUT_CLASSES = 20
"""What a step counts as, in classes, where the task has none."""
CANDIDATES = 32
"""Records of each class that are looked at; of more, some are drawn by chance first."""


def check_memory(memory: int, classes: int) -> None:
    """Raise for a number of records a class that cannot be kept.

    Args:
        classes: how many there are after the step.

    Raises:
        LightAdaptError: it is no number, or more records than may be kept.
    """
    check_whole("memory", memory, least=0, wanted="a whole number from 0 on: the records of each class to keep")
    if memory * classes > MOST:
        raise LightAdaptError(
            f"memory={memory} would keep {memory * classes:,} records of {classes:,} classes, and {MOST:,} is the "
            f"most. Give at most memory={MOST // classes}."
        )


def herd(vectors: np.ndarray, count: int) -> list[int]:
    """The places of `count` vectors whose mean stays closest to the mean of all, in the order in which they are taken.

    As in Rebuffi et al. 2017, "iCaRL", algorithm 4, but for vectors of length one, of which the mean points somewhere.

    Args:
        vectors: `(N, width)`.
    """
    mean, total = of_length_one(vectors.mean(0)), np.zeros(vectors.shape[1])
    left, taken = list(range(len(vectors))), []
    for _ in range(min(count, len(vectors))):
        likeness = of_length_one(total + vectors[left]) @ mean
        taken.append(left.pop(int(likeness.argmax())))
        total += vectors[taken[-1]]
    return taken


def choose(runner: Runner, examples: Sequence[Any], memory: int) -> list[int]:
    """The places of the examples that are to be kept, so many of each class, by turns: the best of each class first.

    An example of several classes counts for each of them. Where texts have no vectors, chance chooses.
    """
    if not memory or not len(examples):
        return []
    generator = np.random.default_rng(runner.adaptation.design.seed)
    if not isinstance(runner.task, LabelledTask):
        return sorted(generator.permutation(len(examples))[: memory * WITHOUT_CLASSES].tolist())
    members = _members(runner.task.classes_of(examples), generator)
    drawn = sorted({place for mine in members.values() for place in mine})
    vectors = dict(zip(drawn, vectors_of(runner, [examples[place] for place in drawn]), strict=True))
    orders = {each: [mine[at] for at in _order(mine, vectors)] for each, mine in members.items()}
    return _by_turns(orders, {place: [each for each in orders if place in members[each]] for place in drawn}, memory)


def _members(classes: Sequence[Sequence[Hashable]], generator: np.random.Generator) -> dict[Hashable, list[int]]:
    """The places of the examples of each class, rare classes first; of many, some that are drawn."""
    found: dict[Hashable, list[int]] = {}
    for place, own in enumerate(classes):
        for each in own:
            found.setdefault(each, []).append(place)
    rare_first = sorted(found, key=lambda each: len(found[each]))
    return {each: sorted(generator.permutation(found[each])[:CANDIDATES].tolist()) for each in rare_first}


def _order(places: Sequence[int], vectors: dict[int, np.ndarray]) -> list[int]:
    return herd(np.stack([vectors[place] for place in places]), len(places))


def _by_turns(orders: dict[Hashable, list[int]], classes: dict[int, list[Hashable]], memory: int) -> list[int]:
    """The first of each order, then the second, and so on, until each class has so many."""
    taken: list[int] = []
    count = dict.fromkeys(orders, 0)
    for turn in range(max(map(len, orders.values()), default=0)):
        for each, order in orders.items():
            if turn < len(order) and count[each] < memory and order[turn] not in taken:
                taken.append(order[turn])
                for other in classes[order[turn]]:
                    count[other] += 1
    return taken


def remember(
    runner: Runner, past: Past, examples: Sequence[Any], records: Records, step: int, memory: int
) -> tuple[Remembered, ...]:
    """The memory with records of a step; of former steps, it has as many of each class as are wanted now."""
    places = choose(runner, examples, memory)
    fields = runner.task.fields
    new = [Remembered(step, plain_record(records.items[place], fields)) for place in places]
    return (*_reduced(runner, [each for each in past.memory if each.step != step], memory), *new)


def _reduced(runner: Runner, kept: Sequence[Remembered], memory: int) -> list[Remembered]:
    """Those of the records that are still wanted, the first of each class."""
    task = runner.task
    if not isinstance(task, LabelledTask):
        steps = {each.step for each in kept}
        return [each for step in sorted(steps) for each in _first(kept, step, memory * WITHOUT_CLASSES)]
    classes = task.classes_of(task.parse(Records([each.record for each in kept], source="memory"))) if kept else []
    count: dict[Hashable, int] = {}
    found = []
    for each, own in zip(kept, classes, strict=True):
        if any(count.get(one, 0) < memory for one in own):
            found.append(each)
            count |= {one: count.get(one, 0) + 1 for one in own}
    return found


def _first(kept: Sequence[Remembered], step: int, count: int) -> list[Remembered]:
    return [each for each in kept if each.step == step][:count]
