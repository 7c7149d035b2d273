"""A few of the records that were learned from, so that some of them can be kept later."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from lightadapt.data import Record, Records
from lightadapt.tasks import LabelledTask, Task

OF_EACH = 32
"""Records of each class."""
WITHOUT_CLASSES = 640
"""Records of a task that has no classes."""


def some_of_each(task: Task, examples: Sequence[Any], records: Records, seed: int) -> tuple[Record, ...]:
    """Records of each class that chance draws, by the seed; in this process alone, until somebody asks to keep some."""
    order = np.random.default_rng(seed).permutation(len(examples)).tolist()
    if isinstance(task, LabelledTask):
        classes, count = task.classes_of(examples), dict[Hashable, int]()
        chosen = []
        for place in order:
            if any(count.get(each, 0) < OF_EACH for each in classes[place]):
                chosen.append(place)
                count |= {each: count.get(each, 0) + 1 for each in classes[place]}
    else:
        chosen = order[:WITHOUT_CLASSES]
    return tuple(dict(records.items[place]) for place in sorted(chosen))
