"""What is known of an adaptation that is served, from its manifest alone: its weights may still be on disk."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightadapt import peft_bridge
from lightadapt.adaptation import on_hub
from lightadapt.adaptation.artifact import Artifact
from lightadapt.adaptation.saved import read_objects
from lightadapt.adaptation.stored import read_manifest
from lightadapt.errors import LightAdaptError
from lightadapt.methods import Method
from lightadapt.serving.engine import Engine
from lightadapt.tasks import LabelledTask, Task
from lightadapt.tasks.generation import Generation


@dataclass(frozen=True)
class Served:
    """An adaptation that is served.

    Attributes:
        task: its task, with its labels.
        base: what its base is called.
        engine: what computes it.
    """

    name: str
    task: Task
    method: str
    base: str
    engine: Engine
    created: int

    @property
    def labels(self) -> list[Any] | None:
        """The names of the classes; None for a task that has none."""
        return list(self.task.labels or ()) if isinstance(self.task, LabelledTask) else None

    @property
    def generates(self) -> bool:
        """Whether it writes texts."""
        return isinstance(self.task, Generation)


@dataclass(frozen=True)
class Described:
    """What the manifest of an artifact says of it."""

    folder: Path
    task: Task
    method: Method
    layers: Any
    base: tuple[str | None, str | None]
    """The name and the revision of the base that it was trained on."""


def describe(path: str | Path) -> Described:
    """What the manifest of an artifact says, without a look at its weights.

    Raises:
        LightAdaptError: it cannot be read, or names what is not known here, or has no labels.
    """
    folder, manifest = _manifest_of(path)
    task, method = read_objects(Artifact(folder, manifest, None, {}))
    if not task.ready:
        raise LightAdaptError(f"{folder}: its labels are not known, so it cannot answer. Train it first.")
    return Described(folder, task, method, manifest["layers"], _base_of(manifest))


def describe_base(path: str | Path) -> tuple[str | None, str | None]:
    """The name and the revision of the base that an artifact was trained on.

    Raises:
        LightAdaptError: its manifest cannot be read.
    """
    return _base_of(_manifest_of(path)[1])


def serve_as(name: str, task: Task, method: Method, engine: Engine) -> Served:
    """What is told of an adaptation that an engine computes."""
    source = engine.adapted.runner.adaptation.design.blueprint.source
    return Served(name, task, str(method), Path(source.name).name, engine, int(time.time()))


def _manifest_of(path: str | Path) -> tuple[Path, dict[str, Any]]:
    folder = on_hub.fetch(str(path), None) if on_hub.is_on_hub(path) else Path(path)
    return folder, read_manifest(folder, peft_bridge.CONFIG_NAME)


def _base_of(manifest: dict[str, Any]) -> tuple[str | None, str | None]:
    return manifest["base"]["id"], manifest["base"]["revision"]
