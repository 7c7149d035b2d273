"""Probabilities that are right as often as they say, by one number that is found on labelled data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lightadapt.adaptation.reader import Reader
from lightadapt.data import Data, Records
from lightadapt.data.skipping import BadRecords
from lightadapt.errors import DataError, LightAdaptError
from lightadapt.evaluation.scores import Evidence
from lightadapt.tasks import Task

ENOUGH = 10
"""Answers with a probability, of which a temperature can be found at least."""


class Calibration(NamedTuple):
    """What calibrating did; it prints as a sentence."""

    temperature: float
    """What logits are divided by: above 1 the model was too sure of itself, below 1 not sure enough."""
    before: float
    """The expected calibration error on the data before, 0 to 1."""
    after: float
    """The same with the temperature; on other data it is somewhat higher."""
    answers: int
    """How many answers had a probability."""

    def __str__(self) -> str:
        error = f"calibration error {self.before:.3f} before, {self.after:.3f} after"
        return f"Temperature {self.temperature:.3f}: {error} ({self.answers:,} answers)."


def calibrate(runner: Reader, data: Data, *, columns: Mapping[str, str | int] | None, bad: BadRecords) -> Calibration:
    """Let the task of a runner have the temperature that suits labelled data; see `Adapted.calibrate`.

    Raises:
        DataError: a record cannot be used, or there are too few.
        LightAdaptError: the answers of the task have no probabilities that could be calibrated.
    """
    runner.require_labels()
    check_calibrates(runner.task, "calibrate")
    task = runner.task.uncalibrated()
    examples, records = runner.read(data, task, "validation", columns=columns, bad=bad)
    bad.tell(len(examples))
    check_enough(examples, records)
    return calibrate_on(runner, examples, records)


def check_calibrates(task: Task, call: str) -> None:
    """Raise where the answers of a task have no probabilities that could be calibrated.

    Raises:
        LightAdaptError: they have none.
    """
    if type(task).temperature_for is Task.temperature_for:
        raise LightAdaptError(
            f"{call}: the answers to task {task.name!r} have no probabilities that one temperature could put right. "
            "It is for classification, multilabel, relation, multiple-choice and ner."
        )


def check_enough(examples: Sequence[Any], records: Records) -> None:
    """Raise where there are too few records for a temperature.

    Raises:
        DataError: there are.
    """
    if len(examples) < ENOUGH:
        raise _too_few(records.source, f"{len(examples)} records")


def calibrate_on(runner: Reader, examples: Sequence[Any], records: Records) -> Calibration:
    """Likewise for examples that are read and checked.

    Raises:
        DataError: too few answers to them have a probability.
    """
    task = runner.task.uncalibrated()
    predictions = list(runner.predict(examples, records, task=task))
    answers = task.certainties(examples, predictions)
    if len(answers) < ENOUGH:
        raise _too_few(records.source, f"{len(answers)} answers with a probability in {len(examples):,} records")
    temperature = task.temperature_for(examples, predictions)
    assert temperature is not None
    found = task.with_temperature(temperature)
    evidence = Evidence(found, records, examples, found.calibrated(predictions))
    before, after = evidence.calibration_error(raw=True), evidence.calibration_error()
    runner.task = found
    return Calibration(temperature, before or 0.0, after or 0.0, len(answers))


def _too_few(source: str, there: str) -> DataError:
    return DataError(f"calibrate: {source} has {there}, and a temperature is found of {ENOUGH} or more. Give more.")
