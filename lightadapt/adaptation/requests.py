"""What a user asks for, in any form, and the answers in the same order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from lightadapt.adaptation.reader import Reader
from lightadapt.data import UNNAMED, Called, Data, Records, is_collection, names_data
from lightadapt.data.skipping import BadRecords
from lightadapt.data.stored import pieces
from lightadapt.data.tables import is_table
from lightadapt.errors import DataError, warn
from lightadapt.evaluation.groups import groups_of
from lightadapt.evaluation.intervals import USUAL, check_confidence
from lightadapt.evaluation.scores import Evidence, Scores
from lightadapt.numbers import check_flags, check_whole
from lightadapt.tasks import Task

Piece: TypeAlias = "tuple[Any, Mapping[str, str | int] | None, range]"
"""Some of the inputs, the names of their columns, and their numbers among all."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """How inputs are to be answered; the fields are arguments of `Adapted.predict`."""

    scores: bool = False
    columns: Mapping[str, str | int] | None = None
    options: Mapping[str, Any] | None = None
    threshold: float | None = None
    batch_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.batch_tokens is not None:
            check_whole("batch_tokens", self.batch_tokens)
        check_flags(scores=self.scores)

    def task_of(self, runner: Reader) -> Task:
        """The task of a runner, with what is asked of it here.

        Raises:
            LightAdaptError: it has no such options, or no threshold.
        """
        task = runner.task if self.options is None else runner.task.with_options(self.options)
        return task if self.threshold is None else task.with_threshold(self.threshold)


@dataclass(frozen=True)
class Asked:
    """What an adaptation is asked, read and checked.

    Attributes:
        task: with what is asked of it here.
        examples: those that can be used.
        records: what the examples were parsed from.
        numbers: of all inputs.
    """

    task: Task
    examples: Sequence[Any]
    records: Records
    numbers: Sequence[int]

    def answers(self, predictions: Iterable[Any], *, scores: bool) -> list[Any]:
        """The answers to all inputs, from the predictions for the examples; None to what cannot be used."""
        found = {
            self.records.number(index): self.task.present(example, prediction, scores=scores)
            for index, (example, prediction) in enumerate(zip(self.examples, predictions, strict=True))
        }
        return [found.get(number) for number in self.numbers]


def answer(
    runner: Reader, inputs: Any, request: Request, bad: BadRecords, *, numbers: Sequence[int] | None = None
) -> list[Any]:
    """The predictions, one an input; see `Adapted.predict`.

    Args:
        inputs: in any form that `predict` takes, or records that were read before.
        bad: takes the inputs that cannot be used; the answer to them is None.
        numbers: of the inputs among those that were given; None: they are all.

    Raises:
        DataError: an input cannot be used.
        LightAdaptError: the labels are not known yet.
    """
    asked = read_asked(runner, inputs, request, bad, numbers=numbers)
    predictions: Iterable[Any] = ()
    if len(asked.examples):
        tokens = request.batch_tokens
        predictions = runner.predict(asked.examples, asked.records, task=asked.task, batch_tokens=tokens)
    return asked.answers(predictions, scores=request.scores)


def read_asked(
    runner: Reader,
    inputs: Any,
    request: Request,
    bad: BadRecords,
    call: str = "predict({})",
    *,
    called: str = UNNAMED,
    numbers: Sequence[int] | None = None,
) -> Asked:
    """The inputs of `answer`, read and checked; the arguments are those of `read_unlabelled`.

    Raises:
        DataError: an input cannot be used.
        LightAdaptError: the labels are not known yet.
    """
    runner.require_labels()
    return read_unlabelled(runner, inputs, request, bad, call, called=called, numbers=numbers)


def read_unlabelled(
    runner: Reader,
    inputs: Any,
    request: Request,
    bad: BadRecords,
    call: str,
    *,
    called: str = UNNAMED,
    numbers: Sequence[int] | None = None,
    split: str = "test",
) -> Asked:
    """The inputs of a call that takes what `predict` takes, read and checked; the labels need not be known.

    Args:
        call: how a user calls it, with `{}` where the inputs are, as an error advises it.
        called: the name of the inputs, where the call takes others beside them.
        split: the split of a hub data set when its id names none.

    Raises:
        DataError: an input cannot be used.
    """
    task, columns = request.task_of(runner), request.columns
    _check_form(inputs, call, called)
    if is_collection(inputs) and not isinstance(inputs, Records):
        items = list(inputs)
        plain = not all(isinstance(item, Mapping) for item in items)
        columns = {} if plain else columns  # a bare text has no columns
        numbers = numbers or range(len(items))
        if not items:
            return Asked(task, (), Records([]), numbers)
        given = Records([runner.task.as_record(item) for item in items], numbers=numbers, source=called)
        records = _read(runner, given, columns, bad)
    else:
        records = inputs if isinstance(inputs, Records) else _read(runner, Called(inputs, called), columns, bad, split)
        numbers = numbers or range(len(records) + bad.count)
    examples, records = runner.task.parse_usable(records, bad, labelled=False)
    examples, records = runner.usable(examples, records, bad, targets=False, task=runner.answering(task))
    return Asked(task, examples, records, numbers)


def evaluate(
    runner: Reader,
    data: Data,
    *,
    threshold: float | None,
    columns: Mapping[str, str | int] | None,
    bad: BadRecords,
    confidence: float | None = None,
) -> Scores:
    """The task's metrics on labelled data; see `Adapted.evaluate`.

    Args:
        bad: takes the records that cannot be used.
        confidence: of the intervals; None: the usual one, and none where there is but one record.

    Raises:
        DataError: a record cannot be used, or has a label that the model does not know.
        LightAdaptError: the labels are not known yet, or there are no intervals of that confidence.
    """
    if confidence is not None:
        check_confidence(confidence)
    runner.require_labels()
    task = runner.task if threshold is None else runner.task.with_threshold(threshold)
    examples, records = runner.read(data, task, "test", columns=columns, bad=bad)
    if confidence is not None:
        groups_of(records, task).check_several(f"confidence={confidence:g}")
    bad.tell(len(examples))
    predictions = list(runner.predict(examples, records, targets=True))
    for remark in task.remarks(examples, predictions):
        warn(f"In {records.source} {remark}")
    evidence = Evidence(task, records, examples, predictions)
    return Scores(*task.score(examples, predictions), evidence, confidence=confidence or USUAL)


def stream(
    runner: Reader,
    inputs: Any,
    answers: Callable[..., list[Any]],
    bad: BadRecords,
    *,
    columns: Mapping[str, str | int] | None,
    at_once: int,
) -> Iterator[Any]:
    """The predictions as `answers` gives them for pieces of so many inputs; see `Adapted.predict_stream`.

    Args:
        answers: is given some of the inputs, with `columns` and their `numbers`.
        bad: takes the inputs that cannot be used; the answer to them is None.

    Raises:
        DataError: the inputs as a whole cannot be used.
        LightAdaptError: the labels are not known yet.
    """
    runner.require_labels()
    _check_form(inputs, "predict_stream({})")
    if is_collection(inputs):
        given = _cut_collection(inputs, columns, at_once)
    else:
        given = _cut(_read(runner, inputs, columns, bad), bad.count, at_once)
    return _answered(given, answers, bad)


def _answered(given: Iterable[Piece], answers: Callable[..., list[Any]], bad: BadRecords) -> Iterator[Any]:
    count = 0
    for piece, columns, numbers in given:
        count = numbers.stop
        yield from answers(piece, columns=columns, numbers=numbers)
    bad.tell(count - bad.count)


def _cut_collection(inputs: Iterable[Any], columns: Mapping[str, str | int] | None, size: int) -> Iterator[Piece]:
    start = 0
    for piece in pieces(inputs, size):
        numbers = range(start, start + len(piece))
        yield piece, columns, numbers
        start = numbers.stop


def _cut(records: Records, broken: int, size: int) -> Iterator[Piece]:
    """The records in pieces, whose numbers are also those of the broken ones between them, of which there are so many.

    Each piece knows the lines of its own.
    """
    start, total = 0, len(records) + broken
    for first in range(0, len(records), size):
        behind = first + size
        stop = records.number(behind) if behind < len(records) else total
        yield records.part(first, behind), None, range(start, stop)
        start = stop
    if start < total:  # all are broken
        yield records, None, range(start, total)


def _check_form(inputs: Any, call: str, called: str = UNNAMED) -> None:
    """Raise for one input where several are expected; the arguments are those of `read_unlabelled`."""
    takes = call.partition("(")[0] if called == UNNAMED else called
    if isinstance(inputs, str) and not names_data(inputs) and not os.path.isdir(inputs):
        written = call.format(f"[{inputs[:40]!r}]")
        raise DataError(f"{takes} takes a list of inputs. Write {written}.")
    if isinstance(inputs, Mapping) and not is_table(inputs):
        raise DataError(f"{takes} takes a list of inputs. Write {call.format('[{…}]')}.")


def _read(
    runner: Reader, inputs: Any, columns: Mapping[str, str | int] | None, bad: BadRecords, split: str = "test"
) -> Records:
    return runner.task.read(inputs, split=split, columns=columns, labelled=False, bad=bad)
