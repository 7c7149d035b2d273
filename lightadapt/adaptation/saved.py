"""From an artifact to the design that it was trained with."""

from __future__ import annotations

from typing import Any

from lightadapt.adaptation.artifact import Artifact
from lightadapt.base.blueprint import make_blueprint
from lightadapt.base.design import Design, make_design
from lightadapt.base.quantization import Quantization, settle_quantization
from lightadapt.base.source import Source
from lightadapt.errors import ArtifactError, LightAdaptError, warn
from lightadapt.machine.hardware import require_bitsandbytes
from lightadapt.methods import Method, method_of_json
from lightadapt.tasks import Task, task_of_json


def read_objects(artifact: Artifact) -> tuple[Task, Method]:
    """The task with its labels, and the method.

    Raises:
        ArtifactError: this version, with what is imported, does not know one of them.
    """
    saved = artifact.manifest
    try:
        return task_of_json(saved["task"], saved["labels"]), method_of_json(saved["method"])
    except LightAdaptError as error:
        raise ArtifactError(f"{artifact.path}: {error}") from error


def design_of(
    artifact: Artifact,
    source: Source,
    task: Task,
    method: Method,
    quantization: Quantization | None,
    *,
    dtype: Any,
    device: Any,
) -> Design:
    """The design that an artifact was trained with, on this base.

    Raises:
        ArtifactError: the artifact trains what this base does not have.
        LightAdaptError: it cannot be built like this.
    """
    saved = artifact.manifest
    blueprint = make_blueprint(source, task, tuple(saved["outputs"]))
    head = frozenset(saved["head"])
    unknown = sorted(head - blueprint.anatomy.parameters.keys())
    if unknown:
        raise ArtifactError(
            f"{artifact.path} trains {unknown[0]!r}, which {source.name} does not have. Pass the right base=."
        )
    return make_design(
        blueprint,
        method,
        layers=saved["layers"],
        quantization=quantization,
        dtype=dtype,
        device=device,
        seed=saved["seed"],
        head=head,
        inserted=artifact.config,
    )


def quantization_for(artifact: Artifact, source: Source, quantize: Any) -> Quantization | None:
    """The form in which the base is loaded: as asked, else as it is, else as the artifact was trained on.

    Raises:
        ArtifactError: the manifest is damaged.
        LightAdaptError: an unknown form, or bitsandbytes is not installed.
    """
    trained_on = _trained_on(artifact)
    chosen = settle_quantization(quantize, source.config, source.name)
    if quantize is None and chosen is None and trained_on is not None:
        need = f"{artifact.path}, trained on {trained_on.name} weights,"
        require_bitsandbytes(need, "pass quantize='none'")
        chosen = trained_on
    way = "Pass base= with the model as it was then" if quantize is None else "Leave quantize out"
    warn_when_other(artifact, chosen, way)
    return chosen


def warn_when_other(artifact: Artifact, quantization: Quantization | None, way: str) -> None:
    """Say that the base has another form than the one that the artifact was trained on.

    Args:
        way: how to have it as it was.
    """
    trained_on = _trained_on(artifact)
    if quantization != trained_on:
        warn(
            f"{artifact.path} was trained on {_describe(trained_on)} and is loaded on {_describe(quantization)}: its "
            f"predictions may differ a little. {way} to have it as it was."
        )


def _trained_on(artifact: Artifact) -> Quantization | None:
    saved = artifact.manifest.get("quantize")
    if saved is None:
        return None
    try:
        return Quantization.of_json(saved)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{artifact.path} is damaged: it says quantize={saved!r}.") from error


def _describe(quantization: Quantization | None) -> str:
    return "weights that are not quantized" if quantization is None else f"{quantization} weights"
