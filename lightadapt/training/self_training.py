"""Learning from texts without labels: the model labels them itself, and learns those it is surest of beside the others.

That is self-training (Lee 2013, "Pseudo-Label"; Mukherjee and Awadallah 2020 for few labels), in one round.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lightadapt.adaptation.requests import Request, read_unlabelled
from lightadapt.adaptation.runner import Prepared, Runner
from lightadapt.data import Data, Records
from lightadapt.data.skipping import BadRecords
from lightadapt.errors import DataError, LightAdaptError
from lightadapt.tasks.classification import Classification
from lightadapt.tasks.decoding.probabilities import most_probable

SHARE = 0.5
"""The share of the texts of each predicted class that is learned."""


class Unlabelled:
    """Texts without labels, read and checked."""

    def __init__(self, runner: Runner, data: Data, columns: Mapping[str, str | int] | None, bad: BadRecords) -> None:
        """Read them, before anything is learned.

        Raises:
            DataError: a record cannot be used, or there is none.
            LightAdaptError: the task has no classes.
        """
        if type(runner.task) is not Classification:
            raise LightAdaptError(f"unlabelled=… is for task 'classification', not {runner.task.name!r}. Leave it out.")
        call, request = "fit(train, unlabelled={})", Request(columns=columns)
        found = read_unlabelled(runner, data, request, bad, call, called="unlabelled", split="train")
        self.examples: list[Any] = list(found.examples)
        self.records = found.records
        if not self.examples:
            raise DataError("unlabelled holds no record. Give texts without labels, or leave it out.")

    def labelled_by(self, runner: Runner) -> tuple[list[Any], Records]:
        """The examples with the labels that the model gives them, as far as it is sure: half of those of each class."""
        features = runner.encode(self.examples, targets=False)
        predictions = runner.decode(self.examples, features)
        of_class: dict[Any, list[tuple[float, int]]] = defaultdict(list)
        for place, prediction in enumerate(predictions):
            label = most_probable(prediction)
            of_class[label].append((-prediction[label], place))
        kept = sorted(
            place for found in of_class.values() for _, place in sorted(found)[: max(1, round(SHARE * len(found)))]
        )
        labelled = [self.examples[place]._replace(label=most_probable(predictions[place])) for place in kept]
        return labelled, self.records.only(kept)


def joined(learned: Prepared, examples: Sequence[Any], records: Records) -> Prepared:
    """Training data with these examples behind it."""
    one, other = learned.records, records
    lines = [*(one.lines or [0] * len(one)), *(other.lines or [0] * len(other))]
    numbers = [*map(one.number, range(len(one))), *map(other.number, range(len(other)))]
    both = replace(
        one, items=[*one.items, *other.items], lines=lines, numbers=numbers, files=None, file_of=None, documents=None
    )
    return replace(learned, examples=[*learned.examples, *examples], records=both)
