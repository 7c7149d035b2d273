"""The first records as the model sees them, with what it is to learn marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightadapt.tasks import ModelView, Task
from lightadapt.tasks.encoding.features import as_notes


def preview(task: Task, examples: Sequence[Any], places: Sequence[str], view: ModelView) -> str:
    """A paragraph for each example: its name, and for each of its features the text and the target.

    Args:
        places: the name of each example's record.
    """
    encoded = task.encode(examples, view, targets=True)
    lines = []
    for index, place in enumerate(places):
        mine = [feature for feature in encoded.features if feature.example == index]
        parts = f", in {len(mine)} parts" if len(mine) > 1 else ""
        lines.append(f"{place}: {sum(map(len, mine))} tokens{parts}")
        for feature in mine:
            lines += [f"  {line}" for line in task.show(feature, view)]
    notes = as_notes(encoded.counts, len(places), lambda index: places[index])
    return "\n".join([*lines, *(f"Note: {note}" for note in notes)])
