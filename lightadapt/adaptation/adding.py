"""Another adaptation for a base that has one: a fresh one, or one that was saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightadapt.adaptation.artifact import Artifact
from lightadapt.adaptation.saved import design_of, read_objects, warn_when_other, warn_when_other_format
from lightadapt.adaptation.several import Several
from lightadapt.anatomy import Layers, family_of
from lightadapt.base.blueprint import make_blueprint
from lightadapt.base.design import make_design
from lightadapt.base.source import check_tokenizer
from lightadapt.data import Data
from lightadapt.methods import resolve_method
from lightadapt.tasks import Label, Task, give_labels, resolve_task


def add(
    several: Several,
    name: str,
    *,
    method: Any,
    task: str | Task | None,
    labels: Sequence[Label] | Data | None,
    layers: Layers,
) -> None:
    """Give the base a fresh adaptation; see `Adapted.add`.

    Raises:
        LightAdaptError: the name is taken, or a method trains the base itself, which cannot be shared then.
    """
    several.check_enabled("add")
    chosen = several.in_use.task if task is None else resolve_task(task)
    if labels is not None:
        chosen = give_labels(chosen, labels)
    backbone, first = several.backbone, several.first
    blueprint = make_blueprint(backbone.source, chosen)
    how = resolve_method(method)
    several.check_shareable(how, how.plan(blueprint.anatomy, layers))
    design = make_design(
        blueprint,
        how,
        layers=layers,
        quantization=backbone.quantization,
        dtype=backbone.dtype,
        device=backbone.device,
        seed=first.adaptation.design.seed,
    )
    check_tokenizer(first.tokenizer, blueprint.source, chosen)
    tokenizer = chosen.fit_tokenizer(first.tokenizer, family_of(blueprint.source.config))
    several.hang(name, design, chosen, tokenizer)


def hang(several: Several, artifact: Artifact, name: str) -> None:
    """Hang a saved adaptation on the base; see `Adapted.hang`.

    Raises:
        ArtifactError: it was trained on other weights, or does not fit this base.
        LightAdaptError: the name is taken, or its method trains the base itself.
    """
    backbone = several.backbone
    source, quantization = backbone.source, backbone.quantization
    task, method = read_objects(artifact)
    design = design_of(artifact, source, task, method, quantization, dtype=backbone.dtype, device=backbone.device)
    warn_when_other(artifact, quantization, "Load it by itself")
    warn_when_other_format(artifact, backbone.dtype, shared=True)
    several.hang(name, design, task, several.tokenizer_of(artifact, task), artifact)
