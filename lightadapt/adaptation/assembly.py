"""From a design to something that can be trained: the one place where it is put together."""

from __future__ import annotations

from typing import Any

from lightadapt import peft_bridge
from lightadapt.adaptation.adaptation import Adaptation
from lightadapt.adaptation.artifact import Artifact
from lightadapt.adaptation.history import LastRun
from lightadapt.adaptation.runner import Runner
from lightadapt.base.backbone import Backbone
from lightadapt.base.design import Design
from lightadapt.base.fingerprint import same_base, same_packed
from lightadapt.base.limits import check_room
from lightadapt.base.weights import Base, load_base
from lightadapt.errors import ArtifactError, LightAdaptError, warn
from lightadapt.peft_bridge import ADAPTER
from lightadapt.tasks import Task


def build(
    design: Design,
    task: Task,
    tokenizer: Any,
    *,
    name: str = ADAPTER,
    backbone: Backbone | None = None,
    artifact: Artifact | None = None,
) -> Runner:
    """The task on the adaptation that is designed, ready to compute and to be trained.

    Args:
        tokenizer: as the task needs it.
        name: of the adaptation.
        backbone: the weights to hang it on; None: they are loaded.
        artifact: what was trained before; None: what is inserted starts as the method says.

    Raises:
        LightAdaptError: the method leaves the text no room, or the weights cannot be loaded.
        ArtifactError: the artifact was trained on other weights, or does not hold what this model trains.
    """
    check_room(design.blueprint.anatomy, tokenizer, design.method)
    ready = design.blueprint.ready
    learning = {} if ready is None else {each: each.requires_grad for each in ready.parameters()}
    base = load_base(design) if backbone is None else backbone.join(design)
    if backbone is None:
        base.model.requires_grad_(False).eval()
    try:
        if artifact is not None:
            _check_base(artifact, base, "Pass base= with" if backbone is None else "Load it by itself, on")
        adaptation = _insert(base, name, task, artifact)
        adaptation.activate()
        runner = Runner(adaptation, task, tokenizer)
        if artifact is None:
            design.method.start(adaptation.model, tokenizer)
        else:
            restore(runner, artifact)
        if backbone is not None:
            adaptation.prepare_training(enabled=False)  # others may be learning
    except BaseException:
        peft_bridge.Adapter(base.model, name).remove()  # what others share, or gave, is as it was before
        if backbone is not None:
            backbone.leave(base)
        for parameter, learned in learning.items():
            parameter.requires_grad_(learned)
        raise
    return runner


def _insert(base: Base, name: str, task: Task, artifact: Artifact | None) -> Adaptation:
    """The method in the model; what an artifact says of it and does not fit is the artifact's fault."""
    try:
        return Adaptation(base, name, named_outputs=task.ready)
    except LightAdaptError as error:
        if artifact is None or isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{artifact.path}: {error}") from error


def restore(runner: Runner, artifact: Artifact) -> None:
    """Write saved tensors into the model, with what the artifact says of its training.

    Raises:
        ArtifactError: they are not exactly the tensors that this model trains.
    """
    learned = not artifact.manifest.get("untrained", False)
    if artifact.manifest.get("prototypes"):
        runner.adaptation.read_as_prototypes(artifact.manifest["prototypes"])
        if artifact.manifest.get("discriminants"):
            runner.adaptation.read_as_discriminants()
    runner.adaptation.restore(artifact.tensors, artifact.path, learned=learned)
    runner.past = artifact.past
    runner.last_run = LastRun(artifact.manifest["training"], artifact.manifest["metrics"], summary=artifact.summary)


def _check_base(artifact: Artifact, base: Base, way_out: str) -> None:
    """Raise when the artifact was trained on another base; warn when the number format hides it."""
    saved, name = artifact.manifest["base"], base.blueprint.source.name
    same = same_base(saved["fingerprint"], base.fingerprint)
    if same is None:
        warn(f"{artifact.path}: whether {name} is the base it was trained on cannot be checked in {base.design.dtype}.")
    if not same_packed(saved["fingerprint"], base.fingerprint):
        warn(
            f"The quantized weights of {name} are not those that {artifact.path} was trained on: it is another base, "
            "or another device rounded them. Compare its scores."
        )
    if same is False:
        raise ArtifactError(
            f"{artifact.path} was trained on another base than {name}: the fingerprints of their weights differ. "
            f"{way_out} {saved['id'] or 'the model'} as it was then."
        )
