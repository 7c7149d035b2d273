"""What is known of an adaptation: for lightadapt.json, and in print."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import transformers

from lightadapt.adaptation import artifact
from lightadapt.adaptation.model_card import write_card
from lightadapt.adaptation.runner import Runner
from lightadapt.adaptation.tokenizer_files import write_tokenizer_files
from lightadapt.base.description import as_rows, describe_labels, describe_parameters
from lightadapt.machine.processes import Gate
from lightadapt.tasks import LabelledTask

TASK_TYPES = {
    "AutoModelForSequenceClassification": "SEQ_CLS",
    "AutoModelForTokenClassification": "TOKEN_CLS",
    "AutoModelForQuestionAnswering": "QUESTION_ANS",
    "AutoModelForCausalLM": "CAUSAL_LM",
    "AutoModelForSeq2SeqLM": "SEQ_2_SEQ_LM",
}
"""PEFT's names for kinds of models, by the class of transformers that makes them."""


def manifest_of(runner: Runner) -> dict[str, Any]:
    """What lightadapt.json says, without the facts about the files."""
    adaptation = runner.adaptation
    design, source = adaptation.design, adaptation.design.blueprint.source
    return {
        "base": {
            "id": source.id,
            "revision": source.revision,
            "class": type(runner.model).__name__,
            "fingerprint": adaptation.base.fingerprint,
        },
        "task": runner.task.as_json(),
        "labels": runner.labels,
        "outputs": list(runner.outputs),
        "method": design.method.as_json(),
        "layers": design.layers,
        "quantize": None if design.quantization is None else design.quantization.as_json(),
        "head": sorted(adaptation.base.head),
        "untrained": adaptation.head.is_untouched,
        "prototypes": None if adaptation.head.prototypes is None else adaptation.head.prototypes.pooling,
        "discriminants": adaptation.head.prototypes is not None and adaptation.head.prototypes.linear,
        "seed": design.seed,
        "training": dict(runner.last_run.settings),
        "metrics": dict(runner.last_run.metrics),
        **({"steps": list(runner.past.steps)} if runner.past.steps else {}),
        "dtype": str(design.dtype).removeprefix("torch."),
        "versions": {name: version_of(name) for name in ("lightadapt", "torch", "transformers", "peft")},
    }


def version_of(name: str) -> str:
    """The version of a package; as its module says where it runs from a checkout and nothing of it is installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return str(getattr(import_module(name), "__version__", "unknown"))


def save(
    runner: Runner,
    path: str | Path,
    write: Gate = lambda action: action(),
    *,
    metrics: Mapping[str, float] | None = None,
) -> None:
    """Write the artifact.

    Args:
        write: decides whether this process is to write.
        metrics: the validation metrics of this state, when they are not those of the last run.
    """
    adaptation, manifest = runner.adaptation, manifest_of(runner)
    manifest = manifest if metrics is None else {**manifest, "metrics": dict(metrics)}
    tensors, base, past = adaptation.tensors(), manifest["base"], runner.past
    write(
        lambda: artifact.write_artifact(
            path,
            manifest=manifest,
            tensors=tensors,
            write_config=lambda file: adaptation.adapter.write_config(
                file, adaptation.modules, base["id"], base["revision"], task_type_of(runner)
            ),
            write_tokenizer=partial(write_tokenizer_files, runner.tokenizer),
            past=past,
            summary=runner.last_run.summary,
            card=write_card(
                manifest,
                describe(runner),
                runner.task.pipeline,
                stock_class=None if runner.task.output_scale is not None else stock_class_of(runner),
                own_tuner=type(adaptation.design.plan.config).__module__.startswith("lightadapt."),
            ),
        )
    )


def task_type_of(runner: Runner) -> str | None:
    """What PEFT calls the kind of model that the task is done with; None where PEFT has no word for it."""
    return TASK_TYPES.get(runner.task.auto_classes.get(runner.family, ""))


def stock_class_of(runner: Runner) -> str | None:
    """The Auto class of transformers that makes the very model that the task is done with; None where none does."""
    auto = runner.task.auto_classes.get(runner.family, "")
    own = not type(runner.model).__module__.startswith("transformers.") or runner.adaptation.head.prototypes is not None
    return None if own or not hasattr(transformers, auto) else auto


def describe(runner: Runner) -> str:
    """Base, task, method, what is adapted and trained, and the bytes of it, a line each."""
    adaptation, task = runner.adaptation, runner.task
    design = adaptation.design
    facts = {
        "base": f"{design.blueprint.source.name} ({type(runner.model).__name__})",
        "task": f"{task.name}, {describe_labels(runner.labels)}" if isinstance(task, LabelledTask) else task.name,
        "method": str(design.method),
        "adapted": _describe_adapted(runner),
    }
    if design.quantization is not None:
        facts["quantize"] = str(design.quantization)
    facts["trainable"] = describe_parameters(adaptation.sizes(), adaptation.learned_head, adaptation.all_trained)
    return as_rows(facts | adaptation.memory().rows())


def _describe_adapted(runner: Runner) -> str:
    adaptation = runner.adaptation
    inserted = len(adaptation.adapter.modules)
    blocks = f"{len(adaptation.design.plan.blocks)} of {len(adaptation.design.blueprint.anatomy.blocks)} blocks"
    if inserted:
        return f"{blocks}, {inserted} modules"
    return blocks if adaptation.trained - adaptation.learned_head else "the head alone"
