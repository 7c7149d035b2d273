"""`adapt` and `load`: names are resolved, and the parts are wired."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lightadapt.adaptation import artifact as checkpoint
from lightadapt.adaptation.adaptation import Adaptation
from lightadapt.adapted import Adapted
from lightadapt.anatomy import Layers
from lightadapt.base.fingerprint import same_base, same_packed
from lightadapt.base.quantization import Quantization, resolve_quantization, settle_quantization
from lightadapt.base.quantized_trial import check_quantization
from lightadapt.base.source import Model, find_source, load_tokenizer
from lightadapt.base.weights import Base, Blueprint, check_room, draw, load_base, plan_for
from lightadapt.data import Data
from lightadapt.errors import ArtifactError, LightAdaptError
from lightadapt.machine.hardware import choose_device, choose_dtype, require_bitsandbytes
from lightadapt.methods import METHODS, Method, Plan, resolve_method
from lightadapt.peft_bridge import ADAPTER
from lightadapt.tasks import TASKS, Task, give_labels, resolve_task
from lightadapt.tasks.task import Label


def adapt(
    model: Model,
    task: str | Task,
    method: str | Method = "lora",
    *,
    labels: Sequence[Label] | Data | None = None,
    quantize: Any = None,
    layers: Layers = None,
    tokenizer: Any = None,
    dtype: Any = "auto",
    device: Any = "auto",
    seed: int = 0,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Adapted:
    """A pretrained model made ready to learn a task by training a small part of it.

    Args:
        model: hub id, folder, or a `PreTrainedModel` (which may carry the task's head already).
        task: a name (`"classification"`, `"ner"`, `"qa"`, `"generation"`, …) or a task object such as `QA(window=256)`.
        method: a name (`"lora"`, `"prefix"`, `"full"`, …), a method object such as `LoRA(rank=16)`, or a `PeftConfig`.
        labels: the names of the classes, or data to read them from; None: read from the data of the first `fit`.
        quantize: how the frozen projections of the blocks are kept: None (in `dtype`), `"4bit"` (NF4 with double
            quantization), `"8bit"` (LLM.int8), or a `BitsAndBytesConfig`. A checkpoint that is quantized stays so.
        layers: the blocks to adapt: None (all), `"last:4"`, `"first:4"`, or indices.
        tokenizer: a tokenizer or where to load it from; None: the one that lies with the model.
        dtype: of the frozen weights that are not quantized; what is trained is float32.
        device: `"auto"`, `"cpu"`, `"cuda"`, `"mps"`.
        seed: of everything that is drawn: fresh weights, order of the data, dropout.
        revision: branch, tag or commit of a hub model.
        trust_remote_code: run the code that a hub model brings.

    Raises:
        LightAdaptError: an unknown name, or a model, task, method or layers that do not go together; before any
            weight is loaded.
    """
    resolve_quantization(quantize)
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise LightAdaptError(f"seed={seed!r}: give a whole number from 0 to 2**32 - 1.")
    chosen_task, chosen_method = resolve_task(task), resolve_method(method)
    if labels is not None:
        chosen_task = give_labels(chosen_task, labels)
    source = find_source(model, revision=revision, trust_remote_code=trust_remote_code)
    blueprint = draw(source, chosen_task)
    plan = plan_for(blueprint, chosen_method, layers)
    place = choose_device(device)
    quantization = settle_quantization(quantize, source.config, source.name)
    check_quantization(blueprint.anatomy, chosen_method, plan, quantization, place)
    number_format = _number_format(blueprint, plan, dtype, place)
    chosen_tokenizer = load_tokenizer(source, tokenizer, chosen_task)
    check_room(source.config, chosen_tokenizer, chosen_method)
    base = load_base(blueprint, dtype=number_format, seed=seed, device=place, quantization=quantization)
    made = Adaptation(base, chosen_method, plan, chosen_tokenizer, name=ADAPTER, layers=layers, seed=seed)
    chosen_method.start(made.model, chosen_tokenizer)
    return Adapted(made)


def load(
    path: str | Path,
    *,
    base: Model | None = None,
    quantize: Any = None,
    dtype: Any = "auto",
    device: Any = "auto",
) -> Adapted:
    """A saved adaptation, ready to predict or to train on.

    Args:
        path: the folder that `Adapted.save` wrote.
        base: where the base model is now, when not where it was; None: as the artifact says.
        quantize: as in `adapt`; None: as the base is if it is quantized, else as it was trained; `"none"`: not at all.
        dtype: of the frozen weights that are not quantized.
        device: `"auto"`, `"cpu"`, `"cuda"`, `"mps"`.

    Raises:
        ArtifactError: the folder is damaged, from a newer version, or does not fit this base.
        LightAdaptError: the base model cannot be loaded.
    """
    resolve_quantization(quantize)
    artifact = checkpoint.read_artifact(path)
    saved = artifact.manifest
    trained_on = _saved_quantization(saved.get("quantize"), path)
    named = {} if saved["labels"] is None else {"labels": saved["labels"]}
    task = _saved_object(TASKS, saved["task"], path, **named)
    method = _saved_object(METHODS, saved["method"], path)
    source = find_source(_base_of(artifact, base), revision=saved["base"]["revision"] if base is None else None)
    blueprint = draw(source, task, tuple(saved["outputs"]))
    head = frozenset(saved["head"])
    unknown = sorted(head - blueprint.anatomy.parameters.keys())
    if unknown:
        raise ArtifactError(f"{path} trains {unknown[0]!r}, which {source.name} does not have. Pass the right base=.")
    plan = replace(method.plan(blueprint.anatomy, saved["layers"]), config=artifact.config)
    place = choose_device(device)
    quantization = settle_quantization(quantize, source.config, source.name)
    if quantize is None and quantization is None and trained_on is not None:
        require_bitsandbytes(f"{path}, trained on {trained_on.name} weights,", "pass quantize='none'")
        quantization = trained_on
    check_quantization(blueprint.anatomy, method, plan, quantization, place)
    number_format = _number_format(blueprint, plan, dtype, place)
    if quantization != trained_on:
        warnings.warn(
            f"{artifact.path} was trained on {_describe(trained_on)} and is loaded on {_describe(quantization)}: its "
            "predictions may differ a little. "
            + ("Pass base= with the model as it was then" if quantize is None else "Leave quantize out")
            + " to have it as it was.",
            stacklevel=2,
        )
    tokenizer = load_tokenizer(source, artifact.path, task)
    loaded = load_base(
        blueprint, dtype=number_format, seed=saved["seed"], device=place, head=head, quantization=quantization
    )
    _check_base(artifact, loaded, number_format)
    made = Adaptation(loaded, method, plan, tokenizer, name=ADAPTER, layers=saved["layers"], seed=saved["seed"])
    adapted = Adapted(made)
    adapted.restore(artifact)
    return adapted


def _saved_quantization(saved: Any, path: str | Path) -> Quantization | None:
    if saved is None:
        return None
    try:
        return Quantization.of_json(saved)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} is damaged: it says quantize={saved!r}.") from error


def _describe(quantization: Quantization | None) -> str:
    return "weights that are not quantized" if quantization is None else f"{quantization} weights"


def _check_base(artifact: checkpoint.Artifact, loaded: Base, number_format: torch.dtype) -> None:
    """Raise when the artifact was trained on another base; warn when the number format hides it."""
    saved, name = artifact.manifest["base"], loaded.blueprint.source.name
    same = same_base(saved["fingerprint"], loaded.fingerprint)
    if same is None:
        warnings.warn(
            f"{artifact.path}: whether {name} is the base it was trained on cannot be checked in {number_format}.",
            stacklevel=3,
        )
    if not same_packed(saved["fingerprint"], loaded.fingerprint):
        warnings.warn(
            f"The quantized weights of {name} are not those that {artifact.path} was trained on: it is another base, "
            "or another device rounded them. Compare its scores.",
            stacklevel=3,
        )
    if same is False:
        raise ArtifactError(
            f"{artifact.path} was trained on another base than {name}: the fingerprints of their weights differ. "
            f"Pass base= with {saved['id'] or 'the model'} as it was then."
        )


def _number_format(blueprint: Blueprint, plan: Plan, dtype: Any, device: torch.device) -> torch.dtype:
    """The number format of the frozen weights; an instance that carries the task's head keeps its own."""
    trains_base = bool(plan.unfrozen)
    if blueprint.ready is None:
        return choose_dtype(dtype, device, trains_base=trains_base)
    own = blueprint.ready.dtype
    if dtype != "auto" and choose_dtype(dtype, device, trains_base=False) != own:
        raise LightAdaptError(f"dtype={dtype!r}: the model given is in {own} and is used as it is. Leave dtype out.")
    return choose_dtype(own, device, trains_base=trains_base)


def _saved_object(known: dict[str, Any], saved: dict[str, Any], path: str | Path, **more: Any) -> Any:
    try:
        return known[saved["name"]](**saved["settings"], **more)
    except (KeyError, TypeError) as error:
        raise ArtifactError(
            f"{path} was saved with {saved['name']!r} and settings {saved.get('settings')}, which this version of "
            "lightadapt does not know. Upgrade: pip install -U lightadapt"
        ) from error


def _base_of(artifact: checkpoint.Artifact, base: Model | None) -> Model:
    saved = artifact.manifest["base"]["id"]
    if base is not None:
        return base
    if saved is None:
        raise ArtifactError(f"{artifact.path} was trained on a model in memory. Pass it: load(path, base=model).")
    if Path(saved).is_absolute() and not Path(saved).is_dir():
        raise ArtifactError(
            f"{artifact.path} was trained on the model in {saved}, which is not there. Pass base= with its place now."
        )
    return str(saved)
