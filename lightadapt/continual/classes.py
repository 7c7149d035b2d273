"""The classes of a step: which are new, and which are old ones that somebody wrote in another way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from unicodedata import normalize

from lightadapt.data import Records
from lightadapt.errors import DataError, shown
from lightadapt.tasks import Label, LabelledTask, Task
from lightadapt.tasks.labels import spelt_alike


def check_spelling(task: LabelledTask, examples: Sequence[Any], records: Records, known: Sequence[Label]) -> None:
    """Raise for a new label that differs from another one in case, spaces or hyphens alone.

    Args:
        known: the labels before the step; two of them that are alike were meant.

    Raises:
        DataError: with the first record that has it.
    """
    seen = {spelt_alike(str(label)): label for label in known}
    for label in task.find_labels(examples):
        other = seen.setdefault(spelt_alike(str(label)), label)
        if label != other and label not in known:
            place = next(place for place, own in enumerate(task.classes_of(examples)) if label in own)
            new, old = _told_apart(label, other)
            raise DataError(
                f"{records.place(place)}: label {new} is new, and there is {old}. If they "
                f"are one, write {old} in the data. If they are two, say so first: "
                f"adapted.add_labels([{new}])."
            )


def _told_apart(label: Label, other: Label) -> tuple[str, str]:
    """Both as an error shows them: by their numbers where accents are written in two ways, which look the same."""
    alike = isinstance(label, str) and isinstance(other, str) and normalize("NFC", label) == normalize("NFC", other)
    return (ascii(label), ascii(other)) if alike else (shown(label), shown(other))


def outputs_of(task: Task, labels: Iterable[Label]) -> list[str]:
    """The outputs of the head that stand for these labels: one each, or of an entity type two tags."""
    if not isinstance(task, LabelledTask):
        return []
    wanted = set(map(str, labels))
    return [name for name in task.outputs() if name in wanted or _type_of(task, name) in wanted]


def _type_of(task: LabelledTask, output: str) -> str | None:
    """The entity type that an output is a tag of; None where outputs are the labels themselves."""
    own = set(map(str, task.labels or ()))
    return None if output in own else output[2:]
