"""What a user asks for, in any form, and the answers in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightadapt.adaptation.runner import Runner
from lightadapt.data import CONLL_SUFFIXES, TABLE_SUFFIXES, is_collection
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
        numbers: of the inputs among those that were given, for an error; None: they are all.

    Raises:
        DataError: an input cannot be used.
        LightAdaptError: the labels are not known yet.
    """
    runner.require_labels()
    if isinstance(inputs, str) and Path(inputs).suffix.lower() not in TABLE_SUFFIXES + CONLL_SUFFIXES:
        raise DataError(f"predict takes a list of inputs. Write predict([{inputs[:40]!r}]).")
    if isinstance(inputs, Mapping):
        raise DataError("predict takes a list of inputs. Write predict([{…}]).")
    if is_collection(inputs):
        inputs = list(inputs)
        if not inputs:
            return []
        plain = not all(isinstance(item, Mapping) for item in inputs)
        columns = {} if plain else columns  # a bare text has no columns
        inputs = [runner.task.as_record(item) for item in inputs]
    records = runner.task.read(inputs, split="test", columns=columns, labelled=False)
    records = replace(records, numbers=numbers)
    examples = runner.task.parse(records, labelled=False)
    task = runner.task if options is None else runner.task.with_options(options)
    predictions = runner.decode(examples, runner.encode(examples, records, targets=False, task=task), task)
    return [
        task.present(example, prediction, scores=scores)
        for example, prediction in zip(examples, predictions, strict=True)
    ]
