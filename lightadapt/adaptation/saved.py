"""From an artifact to the design that it was trained with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from lightadapt.adaptation.artifact import Artifact, check_unchanged
from lightadapt.adaptation.damage import as_damage
from lightadapt.adaptation.tokenizer_files import check_tokenizer_files
from lightadapt.base.blueprint import make_blueprint
from lightadapt.base.design import Design, make_design
from lightadapt.base.quantization import Quantization, settle_quantization
from lightadapt.base.source import Source, load_tokenizer
from lightadapt.errors import ArtifactError, LightAdaptError, warn
from lightadapt.machine.hardware import choose_device, computes_bfloat16, require_bitsandbytes
from lightadapt.methods import Method, method_of_json
from lightadapt.tasks import Task, task_of_json


def read_objects(artifact: Artifact) -> tuple[Task, Method]:
    """The task with its labels, and the method.

    Raises:
        ArtifactError: this version, with what is imported, does not know one of them.
    """
    saved = artifact.manifest
    try:
        with as_damage(artifact.path, "its task or method"):
            task, method = task_of_json(saved["task"], saved["labels"]), method_of_json(saved["method"])
    except ArtifactError:
        raise
    except LightAdaptError as error:
        raise ArtifactError(f"{artifact.path}: {error}") from error
    outputs = task.outputs() if task.ready else ()
    if outputs and set(outputs) != set(saved["outputs"]):
        odd = sorted(set(outputs) ^ set(saved["outputs"]))[0]
        raise ArtifactError(f"{artifact.path} is damaged: {odd!r} is among its labels or its outputs, but not in both.")
    return task, method


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
    with as_damage(artifact.path, "what it says of its model"):
        blueprint = make_blueprint(source, task, tuple(saved["outputs"]))
    head = frozenset(saved["head"])
    unknown = sorted(head - blueprint.anatomy.parameters.keys())
    if unknown:
        raise ArtifactError(
            f"{artifact.path} trains {unknown[0]!r}, which {source.name} does not have. Pass the right base=."
        )
    with as_damage(artifact.path, "what it says of its method"):
        design = make_design(
            blueprint,
            method,
            layers=saved["layers"],
            quantization=quantization,
            dtype=_format_for(artifact, dtype, device) if blueprint.ready is None else dtype,
            device=device,
            seed=saved["seed"],
            head=head,
            inserted=artifact.config,
        )
    if dtype == "auto":
        warn_when_other_format(artifact, design.dtype)
    return design


def _format_for(artifact: Artifact, dtype: Any, device: Any) -> Any:
    """The number format to load in: as asked, else as it was trained where the processor computes it."""
    trained_in = artifact.manifest.get("dtype")
    if dtype != "auto" or trained_in is None:
        return dtype
    slow = trained_in != "float32" and not computes_bfloat16(choose_device(device))
    return "auto" if slow else trained_in


def warn_when_other_format(artifact: Artifact, dtype: torch.dtype, *, shared: bool = False) -> None:
    """Say that the base is in another number format than the one that the artifact was trained in.

    Args:
        shared: whether the base is one that was there before, whose format cannot be chosen.
    """
    trained_in, now = artifact.manifest.get("dtype"), str(dtype).removeprefix("torch.")
    if trained_in in (None, now):
        return
    way = f"For it as it was: load(…, dtype={trained_in!r}); if this is meant: dtype={now!r}."
    if shared:
        way = f"For it as it was, load it without onto=: load(…, dtype={trained_in!r})."
    warn(
        f"{artifact.path} was trained on a base in {trained_in} and is loaded on one in {now}: its predictions may "
        f"differ a little. {way}"
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
    except Exception as error:  # whatever is no such description
        raise ArtifactError(f"{artifact.path} is damaged: it says quantize={str(saved)[:60]}.") from error


def _describe(quantization: Quantization | None) -> str:
    return "weights that are not quantized" if quantization is None else f"{quantization} weights"


def load_saved_tokenizer(artifact: Artifact, source: Source, task: Task) -> Any:
    """The tokenizer of an artifact as the task needs it; no code is run for it, whatever the base was trusted with.

    Raises:
        ArtifactError: its files are damaged, or name code; `ReplacedError` when another process saved meanwhile.
        LightAdaptError: it cannot serve the model or the task.
    """
    try:
        return _load_tokenizer(artifact, source, task)
    finally:  # what went wrong may be that half of the files were those of another save
        check_unchanged(artifact)


def _load_tokenizer(artifact: Artifact, source: Source, task: Task) -> Any:
    check_tokenizer_files(artifact.path)
    try:
        with as_damage(artifact.path, "its tokenizer"):
            return load_tokenizer(replace(source, trust_remote_code=False), artifact.path, task)
    except LightAdaptError as error:
        if isinstance(error, ArtifactError) or error.__cause__ is None:
            raise
        reason = str(error.__cause__).strip()[:200]
        raise ArtifactError(
            f"{artifact.path}: its tokenizer cannot be read ({type(error.__cause__).__name__}: {reason}). Save or copy "
            "the artifact again."
        ) from error
