"""`adapt` and `load`: names are resolved, and the parts are wired."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightadapt.adaptation import on_hub
from lightadapt.adaptation.artifact import Artifact, read_artifact, read_unreplaced, reading
from lightadapt.adaptation.assembly import build
from lightadapt.adaptation.damage import as_damage
from lightadapt.adaptation.saved import design_of, load_saved_tokenizer, quantization_for, read_objects
from lightadapt.adapted import Adapted
from lightadapt.anatomy import Layers
from lightadapt.base.blueprint import make_blueprint
from lightadapt.base.description import brief
from lightadapt.base.design import make_design
from lightadapt.base.quantization import resolve_quantization, settle_quantization
from lightadapt.base.source import Model, Source, find_source, load_tokenizer
from lightadapt.data import Data
from lightadapt.errors import ArtifactError, LightAdaptError
from lightadapt.methods import Method, resolve_method
from lightadapt.numbers import check_flags, check_whole
from lightadapt.suggestions.calls import explained
from lightadapt.suggestions.foreign_names import ADAPT, LOAD
from lightadapt.tasks import Label, Task, give_labels, resolve_task


@explained(ADAPT)
def adapt(
    model: Model,
    task: str | Task,
    method: str | Method = "lora",
    *,
    labels: Sequence[Label] | Mapping[str, str | Sequence[str]] | Data | None = None,
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
        labels: the names of the classes; or `{name: what it means}`, which helps before there is data; or data to read
            them from; None: read from the data of the first `fit`.
        quantize: how the frozen projections of the blocks are kept: None (in `dtype`), `"4bit"` (NF4 with double
            quantization), `"8bit"` (LLM.int8), or a `BitsAndBytesConfig`. A checkpoint that is quantized stays so.
        layers: the blocks to adapt: None (all), `"last:4"`, `"first:4"`, or indices.
        tokenizer: a tokenizer, or where to load one from; None: the model's own.
        dtype: of the frozen weights that are not quantized; what is trained is float32.
        device: `"auto"`, `"cpu"`, `"cuda"`, `"mps"`.
        seed: of everything that is random: fresh weights, the order of the data, dropout.
        revision: branch, tag or commit of a hub model.
        trust_remote_code: run the code that a hub model brings.

    Raises:
        LightAdaptError: an unknown name, or a model, task, method or layers that do not go together; before any
            weight is loaded.
    """
    resolve_quantization(quantize)
    check_flags(trust_remote_code=trust_remote_code)
    check_whole("seed", seed, least=0, most=2**32 - 1, wanted="a whole number from 0 to 2**32 - 1")
    chosen_task, chosen_method = resolve_task(task), resolve_method(method)
    if labels is not None:
        chosen_task = give_labels(chosen_task, labels)
    source = find_source(model, revision=revision, trust_remote_code=trust_remote_code)
    design = make_design(
        make_blueprint(source, chosen_task),
        chosen_method,
        layers=layers,
        quantization=settle_quantization(quantize, source.config, source.name),
        dtype=dtype,
        device=device,
        seed=seed,
    )
    return Adapted(build(design, chosen_task, load_tokenizer(source, tokenizer, chosen_task)))


@explained(LOAD)
def load(
    path: str | Path,
    *,
    base: Model | None = None,
    onto: Adapted | None = None,
    name: str | None = None,
    quantize: Any = None,
    dtype: Any = "auto",
    device: Any = "auto",
    verify: bool = True,
    revision: str | None = None,
    step: int | None = None,
) -> Adapted:
    """A saved adaptation, ready to predict or to train on.

    Nothing in the folder is run or changed. While another process saves there, the state before or after is read.

    Args:
        path: the folder that `Adapted.save` wrote, or the id of one that `push_to_hub` wrote, `"owner/name"`.
        base: where the base model is now, if it has moved; None: where the artifact says.
        onto: an adapted model whose base is to be shared. The saved adaptation is added to it, and it is returned; the
            adaptation in use stays the same. Its weights must be those that the artifact was trained on.
        name: the adaptation's name among those of `onto`; None: the name of the folder.
        quantize: as in `adapt`; None: as in training, unless the base is a quantized checkpoint; `"none"`: not at all.
        dtype: of the frozen weights that are not quantized; `"auto"`: as in training, where the device computes it.
        device: `"auto"`, `"cpu"`, `"cuda"`, `"mps"`.
        verify: whether every file has to be as it was saved; False: for an artifact that was edited on purpose.
        revision: branch, tag or commit of an artifact on the hub.
        step: the step of `extend` at whose end the adaptation is wanted, from 0; None: as it was saved.

    Raises:
        ArtifactError: the folder is damaged, from a newer version, or does not fit this base; the hub does not have it;
            or it does not hold that step.
        LightAdaptError: the base model cannot be loaded.
    """
    check_flags(verify=verify)
    resolve_quantization(quantize)
    where = {"base": base, "onto": onto, "quantize": quantize, "dtype": dtype, "device": device}
    where |= {"verify": verify, "step": step}
    if on_hub.is_on_hub(path):
        with on_hub.named(str(path)):
            folder = on_hub.fetch(str(path), revision)
            return _load(folder, name=Path(path).name if onto is not None and name is None else name, **where)
    if revision is not None:
        raise LightAdaptError(
            f"revision={revision!r} is for artifacts on the hub, and {path} is not one. Leave it out."
        )
    return _load(path, name=name, **where)


def _load(
    path: str | Path,
    *,
    base: Model | None,
    onto: Adapted | None,
    name: str | None,
    quantize: Any,
    dtype: Any,
    device: Any,
    verify: bool,
    step: int | None,
) -> Adapted:
    """The adaptation in a folder; see `load`."""
    if onto is not None:
        if not isinstance(onto, Adapted):
            raise LightAdaptError(f"onto is a {type(onto).__name__}. Give what adapt(…) or load(…) returned.")
        _check_alone(base=base, quantize=quantize, dtype=dtype, device=device)
        hung_as = Path(path).name if name is None else name
        return read_unreplaced(lambda: _hang(path, onto, hung_as, verify=verify, step=step))
    if name is not None:
        raise LightAdaptError(f"name={name!r}: give onto=…, the adapted model whose base it is to share.")
    artifact, source, task, method, tokenizer = read_unreplaced(lambda: _read(path, base, verify=verify, step=step))
    quantization = quantization_for(artifact, source, quantize)
    design = design_of(artifact, source, task, method, quantization, dtype=dtype, device=device)
    with as_damage(artifact.path, "its adapter"):
        return Adapted(build(design, task, tokenizer, artifact=artifact))


def _hang(path: str | Path, onto: Adapted, name: str, *, verify: bool, step: int | None) -> Adapted:
    with onto.held(), reading(path):  # a save takes the two locks in this order, too
        artifact = read_artifact(path, verify=verify, step=step)
        with as_damage(artifact.path, "its adapter"):
            return onto.hang(artifact, name)


def _read(
    path: str | Path, base: Model | None, *, verify: bool, step: int | None
) -> tuple[Artifact, Source, Task, Method, Any]:
    """All that is read of the folder, with the source of the base, and the tokenizer last."""
    with reading(path):
        artifact = read_artifact(path, verify=verify, step=step)
        task, method = read_objects(artifact)
        source = find_source(
            _base_of(artifact, base), revision=artifact.manifest["base"]["revision"] if base is None else None
        )
        return artifact, source, task, method, load_saved_tokenizer(artifact, source, task)


def _check_alone(**others: Any) -> None:
    """Raise for arguments that say how to load a base, where there is one already."""
    given = [name for name, value in others.items() if value not in (None, "auto")]
    if given:
        shown = brief(others[given[0]])
        raise LightAdaptError(f"{given[0]}={shown!r} and onto=…: the base is that of onto. Leave it out.")


def _base_of(artifact: Artifact, base: Model | None) -> Model:
    saved = artifact.manifest["base"]["id"]
    if base is not None:
        return base
    if saved is not None and not Path(saved).is_absolute() and not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", saved):
        raise ArtifactError(
            f"{artifact.path} was trained on {saved[:60]!r}, which is neither a hub id nor a full path. Pass base=."
        )
    if saved is None:
        raise ArtifactError(f"{artifact.path} was trained on a model in memory. Pass it: load(path, base=model).")
    if Path(saved).is_absolute() and not Path(saved).is_dir():
        raise ArtifactError(
            f"{artifact.path} was trained on the model in {saved}, which is not there. Pass base= with its place now."
        )
    return str(saved)
