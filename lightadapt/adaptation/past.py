"""What an adaptation keeps of the steps in which it learned: their list, some of their records, and earlier weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file

from lightadapt.adaptation.damage import reason_of
from lightadapt.adaptation.tensors import first_not_finite
from lightadapt.data import Record
from lightadapt.errors import ArtifactError
from lightadapt.numbers import is_whole

MEMORY_NAME = "memory.jsonl"
"""The file of an artifact with the records that are kept, one a line."""
STEPS_NAME = "steps"
"""The folder of an artifact with the weights of earlier steps."""
STATISTICS_NAME = "statistics.safetensors"
"""The file in that folder with what is known of the vectors of the classes."""
SCATTER = "scatter"
STATE = ("task", "labels", "outputs", "prototypes", "discriminants", "training", "metrics")
"""Facts of the manifest that belong to the weights of a step."""


class Remembered(NamedTuple):
    """A record that is kept, and the step that it was learned in."""

    step: int
    record: Record


@dataclass(frozen=True)
class Past:
    """The steps in which an adaptation has learned, by their numbers from 0."""

    steps: tuple[dict[str, Any], ...] = ()
    """What each step was, as JSON values; all but the last have `state`, the facts of the manifest at its end."""
    memory: tuple[Remembered, ...] = ()
    """The records that are learned again in every step; those of a class in the order in which they were chosen."""
    weights: Mapping[int, Mapping[str, torch.Tensor]] = field(default_factory=dict)
    """The tensors at the end of a step, on the CPU, where they were kept; those of the last step are in the model."""
    statistics: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """What is known of the vectors of the classes, by the weights as they are: `counts` `(K,)`, `means` `(K, width)` in
    the order of the outputs, and `scatter` `(width, width)`, the sum of squares around them. Empty: nothing."""
    seen: tuple[Record, ...] = ()
    """Records of the last `fit` in this process, which are never saved."""

    def until(self, step: int) -> Past:
        """The same as it was at the end of a step."""
        return Past(
            steps=tuple({**each, "state": None} if each["step"] == step else each for each in self.steps[: step + 1]),
            memory=tuple(each for each in self.memory if each.step <= step),
            weights={number: tensors for number, tensors in self.weights.items() if number < step},
            statistics=self._statistics_of(len(self.steps[step]["state"]["outputs"])),
        )

    def _statistics_of(self, outputs: int) -> Mapping[str, torch.Tensor]:
        """What is known of the first outputs; the scatter is that of all."""
        return {name: each if name == SCATTER else each[:outputs] for name, each in self.statistics.items()}


def write_past(folder: Path, past: Past) -> None:
    """Write the records that are kept and the weights of earlier steps into the folder of an artifact."""
    if past.memory:
        lines = [json.dumps(each._asdict(), ensure_ascii=False) + "\n" for each in past.memory]
        (folder / MEMORY_NAME).write_text("".join(lines), encoding="utf-8")
    if past.weights or past.statistics:
        (folder / STEPS_NAME).mkdir()
    if past.statistics:
        save_file(dict(past.statistics), folder / STEPS_NAME / STATISTICS_NAME, metadata={"format": "pt"})
    for step, tensors in past.weights.items():
        save_file(dict(tensors), folder / STEPS_NAME / f"{step}.safetensors", metadata={"format": "pt"})


def read_past(folder: Path, manifest: Mapping[str, Any]) -> Past:
    """What an artifact keeps of its steps.

    Raises:
        ArtifactError: a file of them is damaged.
    """
    steps, files = tuple(manifest.get("steps") or ()), set(manifest.get("files") or ())
    memory = _read_memory(folder / MEMORY_NAME, len(steps)) if MEMORY_NAME in files else ()
    kept = [number for number in range(len(steps)) if STEPS_NAME in files and _file_of(folder, number).is_file()]
    weights = {number: _read_weights(_file_of(folder, number)) for number in kept}
    return Past(steps, memory, weights, _read_statistics(folder, files, len(manifest["outputs"])))


def _read_statistics(folder: Path, files: set[str], outputs: int) -> dict[str, torch.Tensor]:
    file = folder / STEPS_NAME / STATISTICS_NAME
    if STEPS_NAME not in files or not file.is_file():
        return {}
    found = _read_weights(file)
    width = found[SCATTER].shape[-1] if SCATTER in found else 0
    shapes = {name: tuple(each.shape) for name, each in found.items()}
    if shapes != {"counts": (outputs,), "means": (outputs, width), SCATTER: (width, width)}:
        raise ArtifactError(f"{file} is damaged: it does not fit the outputs. Save or copy the artifact again.")
    return found


def at_step(
    folder: Path, manifest: dict[str, Any], tensors: dict[str, torch.Tensor], past: Past, step: int
) -> tuple[dict[str, Any], dict[str, torch.Tensor], Past]:
    """The manifest, the tensors and the past of an artifact as they were at the end of a step.

    Raises:
        ArtifactError: there was no such step, or its weights were not kept.
    """
    last = len(past.steps) - 1
    if not past.steps:
        raise ArtifactError(f"step={step!r}: {folder} was never extended, so it has no steps. Leave step out.")
    if not is_whole(step) or not 0 <= step <= last:
        raise ArtifactError(f"step={step!r}: {folder} has the steps 0 to {last}. Give one of them, or leave step out.")
    if step == last:
        return manifest, tensors, past
    state = past.steps[step].get("state")
    if step not in past.weights or not isinstance(state, dict):
        kept = [*sorted(past.weights), last]
        raise ArtifactError(
            f"step={step!r}: {folder} does not hold the weights of that step. It holds those of: "
            f"{', '.join(map(str, kept))}."
        )
    before = past.until(step)
    return {**manifest, **state, "steps": list(before.steps)}, dict(past.weights[step]), before


def forget_memory(past: Past) -> Past:
    """The same without any record."""
    steps = tuple({**each, "memory": 0} for each in past.steps)
    return replace(past, steps=steps, memory=(), seen=())


def _file_of(folder: Path, step: int) -> Path:
    return folder / STEPS_NAME / f"{step}.safetensors"


def _read_memory(file: Path, steps: int) -> tuple[Remembered, ...]:
    found = []
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
        for line in filter(None, lines):
            each = json.loads(line)
            if not is_whole(each["step"]) or not 0 <= each["step"] < steps or not isinstance(each["record"], dict):
                raise ValueError("a line is not a step with its record")
            found.append(Remembered(each["step"], each["record"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{file} is damaged: {str(error)[:120]}. Save or copy the artifact again.") from error
    return tuple(found)


def _read_weights(file: Path) -> dict[str, torch.Tensor]:
    try:
        tensors = load_file(file)
    except Exception as error:  # safetensors fails in any way
        raise ArtifactError(f"{file} cannot be read: {reason_of(error)}") from error
    broken = first_not_finite(tensors)
    if broken is not None:
        raise ArtifactError(f"{file}: {broken} holds values that are not finite. Save or copy the artifact again.")
    return tensors


def plain_record(record: Record, fields: Sequence[str]) -> Record:
    """The fields of a record as JSON values, as they are written into a file."""
    found = {name: record[name] for name in fields if record.get(name) is not None}
    kept: Record = json.loads(json.dumps(found, default=_as_json))
    return kept


def _as_json(value: Any) -> Any:
    """An array or a number of another library as plain Python."""
    return value.tolist() if hasattr(value, "tolist") else list(value)
