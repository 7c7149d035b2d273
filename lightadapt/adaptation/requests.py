"""What a user asks for, in any form, and the answers in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightadapt.adaptation.runner import Runner
from lightadapt.data import CONLL_SUFFIXES, TABLE_SUFFIXES, Records, is_collection
from lightadapt.data.stored import pieces
from lightadapt.errors import DataError


def answer(
    runner: Runner,
    inputs: Any,
    *,
    scores: bool,
    columns: Mapping[str, str] | None,
    options: Mapping[str, Any] | None,
    numbers: Sequence[int] | None = None,
) -> list[Any]:
    """The predictions, one an input; see `Adapted.predict`.

    Args:
        inputs: in any form that `predict` takes, or records that were read before.
        numbers: of the inputs among those that were given, for an error; None: they are all.

    Raises:
        DataError: an input cannot be used.
        LightAdaptError: the labels are not known yet.
    """
    runner.require_labels()
    _check_form(inputs, "predict")
    if is_collection(inputs) and not isinstance(inputs, Records):
        inputs = list(inputs)
        if not inputs:
            return []
        plain = not all(isinstance(item, Mapping) for item in inputs)
        columns = {} if plain else columns  # a bare text has no columns
        inputs = [runner.task.as_record(item) for item in inputs]
    records = inputs if isinstance(inputs, Records) else _read(runner, inputs, columns)
    records = records if numbers is None else replace(records, numbers=numbers)
    examples = runner.task.parse(records, labelled=False)
    task = runner.task if options is None else runner.task.with_options(options)
    return [
        task.present(example, prediction, scores=scores)
        for example, prediction in zip(examples, runner.predict(examples, records, task=task), strict=True)
    ]


def stream(
    runner: Runner,
    inputs: Any,
    answers: Callable[..., list[Any]],
    *,
    columns: Mapping[str, str] | None,
    at_once: int,
) -> Iterator[Any]:
    """The predictions as `answers` gives them for pieces of so many inputs; see `Adapted.predict_stream`.

    Args:
        answers: is given some of the inputs, with `columns` and their `numbers`.

    Raises:
        DataError: the inputs as a whole cannot be used.
        LightAdaptError: the labels are not known yet.
    """
    runner.require_labels()
    _check_form(inputs, "predict_stream")
    parts = (
        ((piece, columns) for piece in pieces(inputs, at_once))
        if is_collection(inputs)
        else ((piece, None) for piece in _cut(_read(runner, inputs, columns), at_once))
    )
    return _answered(parts, answers)


def _answered(
    parts: Iterable[tuple[Any, Mapping[str, str] | None]], answers: Callable[..., list[Any]]
) -> Iterator[Any]:
    start = 0
    for piece, columns in parts:
        numbers = range(start, start + len(piece))
        start = numbers.stop
        yield from answers(piece, columns=columns, numbers=numbers)


def _cut(records: Records, size: int) -> Iterator[Records]:
    """The records in pieces, each of which knows the lines of its own."""
    for start in range(0, len(records), size):
        lines = records.lines and records.lines[start : start + size]
        yield replace(records, items=records.items[start : start + size], lines=lines)


def _check_form(inputs: Any, call: str) -> None:
    """Raise for one input where several are expected."""
    if isinstance(inputs, str) and Path(inputs).suffix.lower() not in TABLE_SUFFIXES + CONLL_SUFFIXES:
        raise DataError(f"{call} takes a list of inputs. Write {call}([{inputs[:40]!r}]).")
    if isinstance(inputs, Mapping):
        raise DataError(f"{call} takes a list of inputs. Write {call}([{{…}}]).")


def _read(runner: Runner, inputs: Any, columns: Mapping[str, str] | None) -> Records:
    return runner.task.read(inputs, split="test", columns=columns, labelled=False)
