"""A saved adaptation in the place of another of its kind: its tensors are copied, and nothing is built.

What differs between two artifacts of one kind is their tensors, the names of their outputs and what they say of their
training. All else that loading reads, checks and builds is the same: the base, the model's class, what is inserted, its
shapes and settings, and the tokenizer.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lightadapt import peft_bridge
from lightadapt.adaptation.artifact import (
    Artifact,
    check_unchanged,
    is_of_adapter,
    read_artifact,
    read_unreplaced,
    reading,
)
from lightadapt.adaptation.history import LastRun
from lightadapt.adaptation.past import Past
from lightadapt.adaptation.runner import Runner
from lightadapt.adaptation.saved import read_objects
from lightadapt.adaptation.several import Several
from lightadapt.adaptation.tensors import read_tensors, trained_tensors
from lightadapt.base.design import Design
from lightadapt.errors import ArtifactError
from lightadapt.heads.outputs import name_outputs
from lightadapt.tasks import Task

SAME = ("base", "layers", "quantize", "head", "untrained", "prototypes", "discriminants", "seed", "dtype", "method")
"""What the manifests of one kind have in common, apart from the kind of the task."""
OF_THE_BASE = ("base_model_name_or_path", "revision")
"""Fields of adapter_config.json that say where the base is, which is compared by its name and fingerprint."""


@dataclass(frozen=True)
class Known:
    """An artifact that was read and checked once, without its tensors.

    Attributes:
        artifact: what the folder held, but for the tensors.
        task: its task, with its labels.
        kind: equal for artifacts that can take each other's place; None where that cannot be told.
    """

    artifact: Artifact
    task: Task
    kind: str | None


def read_known(path: Path, known: Known | None = None) -> tuple[Known, dict[str, torch.Tensor]]:
    """What there is to know of an artifact, and its tensors.

    Args:
        known: what was known of it; where its files are still those that were checked then, the tensors alone are read.

    Raises:
        ArtifactError: it is damaged, or was written by a newer lightadapt.
    """
    if known is not None:
        with reading(path):
            try:
                check_unchanged(known.artifact)
                tensors = read_tensors(known.artifact.path / peft_bridge.WEIGHTS_NAME)
                check_unchanged(known.artifact)
                return known, tensors
            except Exception:  # it is another one by now, or none: reading it whole says what it is
                pass
    artifact = read_unreplaced(lambda: read_artifact(path))
    task, _ = read_objects(artifact)
    whole = replace(artifact, tensors={}, summary=None, past=Past())
    return Known(whole, task, _kind_of(artifact, task)), artifact.tensors


def _kind_of(artifact: Artifact, task: Task) -> str | None:
    manifest = artifact.manifest
    digests = manifest.get("digests")
    if digests is None or task.output_scale is not None:  # the scale of a head is built in where it is loaded
        return None
    config: Any = None if artifact.config is None else artifact.config.to_dict()
    for name in OF_THE_BASE:
        (config or {}).pop(name, None)
    facts = {
        **{name: manifest.get(name) for name in SAME},
        "task": [task.name, manifest["task"]["settings"], len(manifest["outputs"])],
        "config": config,
        "tokenizer": {name: digest for name, digest in digests.items() if not is_of_adapter(name)},
        "tensors": {name: [list(tensor.shape), str(tensor.dtype)] for name, tensor in artifact.tensors.items()},
    }
    return json.dumps(
        facts, sort_keys=True, default=lambda value: sorted(value) if isinstance(value, set) else str(value)
    )


class Slot:
    """A loaded adaptation whose place others of its kind can take, as long as it is only predicted with.

    Attributes:
        name: of the adaptation that is in it.
        kind: of all that can be.
    """

    def __init__(self, several: Several, name: str, known: Known) -> None:
        """Look after the place of an adaptation that was loaded from an artifact."""
        self.name, self.kind = name, known.kind
        self._several = several
        self._runner = several.named(name)
        adaptation = self._runner.adaptation
        self._places = trained_tensors(adaptation.adapter, adaptation.trained, adaptation.modules)

    def takes(self, known: Known) -> bool:
        """Whether an artifact can have the place."""
        return self.kind is not None and self.kind == known.kind

    def refill(self, name: str, known: Known, tensors: dict[str, torch.Tensor]) -> None:
        """Put an artifact under its name in the place of what is there, which is gone then.

        Raises:
            LightAdaptError: the name is taken, or what was there has been removed.
            ArtifactError: its tensors are not those of its kind; nothing has changed.
        """
        with self._several.backbone.lock:
            before, path = self._runner, known.artifact.path
            self._several.check_holds(before)
            if name != self.name:
                self._several.check_new_name(name, f"load(…, name={name!r})")
            shapes = {each: tensor.shape for each, tensor in tensors.items()}
            if not self.takes(known) or shapes != {each: place.shape for each, place in self._places.items()}:
                raise ArtifactError(f"{path} is not of the kind of adaptation that is in the place of {self.name!r}.")
            with torch.no_grad():
                for each, place in self._places.items():
                    place.copy_(tensors[each])
            self._runner = _successor(before, known)
            self._runner.adaptation.call(name)
            self._several.put_in_place(before, self._runner)
            self.name = name


def _successor(before: Runner, known: Known) -> Runner:
    """The runner of an artifact whose tensors are in the place of another's."""
    manifest = known.artifact.manifest
    runner = copy.copy(before)
    runner.adaptation = copy.copy(before.adaptation)
    runner.adaptation.design = _with_outputs(before.adaptation.design, tuple(manifest["outputs"]))
    name_outputs(runner.model.config, manifest["outputs"])
    if manifest.get("untrained", False):
        runner.adaptation.head.mark_untouched()
    else:
        runner.adaptation.head.mark_learned()
    runner.task = known.task
    runner.last_run = LastRun(manifest["training"], manifest["metrics"])
    return runner


def _with_outputs(design: Design, outputs: tuple[str, ...]) -> Design:
    blueprint = design.blueprint
    if blueprint.outputs == outputs:
        return design
    config = blueprint.fresh_config()
    name_outputs(config, outputs)
    return replace(design, blueprint=replace(blueprint, config=config, outputs=outputs))
