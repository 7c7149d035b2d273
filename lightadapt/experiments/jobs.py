"""What jobs in processes of their own are given: records in files, a model by its name, a task and a method as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lightadapt.anatomy import Layers
from lightadapt.base.blueprint import Blueprint
from lightadapt.base.design import make_design
from lightadapt.base.limits import check_room
from lightadapt.base.source import find_source
from lightadapt.data import Called, Data, Record, Records
from lightadapt.errors import LightAdaptError
from lightadapt.methods import Method
from lightadapt.tasks import TASKS, LabelledTask, Task, resolve_task


def read_data(
    task: str | Task, train: Data, test: Data, columns: Mapping[str, str] | None, *, called: str = "test data"
) -> tuple[Task, Records, Records]:
    """The task with its labels, and the checked records, whose columns have the names of the fields from here on.

    Args:
        called: what the data to score on is called in errors.

    Raises:
        LightAdaptError: an unknown task, data that is not there, or a record that cannot be used.
    """
    chosen = resolve_task(task)
    if TASKS.get(chosen.name) is not type(chosen):
        raise LightAdaptError(f"Task {chosen.name!r} is not one of lightadapt's, so other processes cannot make it.")
    learned = chosen.read(train, split="train", columns=columns)
    scored = chosen.read(Called(test, called), split="test", columns=columns)
    examples = chosen.parse(learned)
    if isinstance(chosen, LabelledTask) and chosen.labels is None:
        chosen = chosen.with_labels(chosen.find_labels(examples))
    chosen.check_answers(examples, learned)
    chosen.check_answers(chosen.parse(scored), scored)
    return replace(chosen, columns=None), learned, scored


def only_fields(item: Mapping[str, Any], task: Task) -> Record:
    """A record with the fields of the task alone, as JSON holds them."""
    kept = {name: item[name] for name in task.fields if name in item}
    plain: Record = json.loads(json.dumps(kept, default=lambda value: np.asarray(value).tolist()))
    return plain


def write_records(folder: Path, **parts: Sequence[Record]) -> None:
    """Write each part to `NAME.jsonl` in a folder."""
    for name, part in parts.items():
        lines = [json.dumps(record) + "\n" for record in part]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def task_of_job(task: Task) -> dict[str, Any]:
    """The task as a job has it, with its labels."""
    labels = list(task.labels or ()) if isinstance(task, LabelledTask) else None
    return {"name": task.name, "settings": task.settings(), "labels": labels}


def refusal(blueprint: Blueprint, tokenizer: Any, method: Method, layers: Layers, device: str) -> str:
    """Why the model cannot serve a method, told without weights; empty when it can."""
    try:
        make_design(blueprint, method, layers=layers, device=device)
        check_room(blueprint.anatomy, tokenizer, method)
    except LightAdaptError as error:
        return str(error)
    return ""


def short_name(path: str) -> str:
    """The last two parts of a path: in full it would tell where somebody keeps files, and one is often `train`."""
    return "/".join(Path(path).resolve().with_suffix("").parts[-2:])


def digest_of(model: str, task: Task, *parts: Sequence[Record]) -> str:
    """A hash of the records, the config of the model and the options of the task."""
    config = find_source(model).config.to_dict()
    for name in ("_name_or_path", "transformers_version"):
        config.pop(name, None)
    labels = list(task.labels or ()) if isinstance(task, LabelledTask) else []
    content = json.dumps([*parts, config, task.settings(), labels], sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]
