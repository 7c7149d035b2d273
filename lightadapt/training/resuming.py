"""Going back to a checkpoint, which has to be one of the same run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightadapt.adaptation.artifact import read_artifact
from lightadapt.adaptation.manifest import manifest_of
from lightadapt.adaptation.runner import Runner
from lightadapt.base.description import brief
from lightadapt.base.fingerprint import same_base
from lightadapt.errors import ArtifactError, warn
from lightadapt.tasks import Feature

SAME_SETTINGS = {
    "number of records": "records",
    "number of sequences": "sequences",
    "number of tokens": "tokens",
    "recipe": "recipe",
    "order": "seed",
    "learning rate": "learning_rate",
    "batch_tokens": "batch_tokens",
    "number of batches a step": "gradient_accumulation_steps",
    "number of processes": "processes",
    "optimizer": "optimizer",
    "training data (texts, labels, their order or their tokens)": "data",
    "validation data (texts, labels or their order)": "validation_data",
}
"""Settings of a run that say where in an epoch a step is, what the state of the optimizer is of, and which weights are
the best."""
LEFT_OUT = {"gradient_accumulation_steps", "processes"}
"""Settings that are written only when they are more than 1; the others are missing in checkpoints of before alone."""

PLAIN_REPR: Any = object.__repr__
"""Tells where an object lies in memory, which is another place in the next process."""


def digests_of(features: Iterable[Feature], validation: Iterable[Any] | None) -> dict[str, str]:
    """Texts that tell what is learned from and what is scored, each in its order.

    Args:
        validation: the examples of the validation data; None: there is none.
    """
    return {
        "data": _digest([feature.inputs, feature.targets] for feature in features),
        "validation_data": "none" if validation is None else _digest(validation),
    }


def _digest(items: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps(item, default=_plain).encode())
    return digest.hexdigest()[:16]


def _plain(value: Any) -> Any:
    """An array or a number of NumPy or torch as plain Python; anything else by what it holds, not by where it lies."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if type(value).__repr__ is PLAIN_REPR:
        return [type(value).__qualname__, vars(value) if hasattr(value, "__dict__") else ""]
    return repr(value)


def go_back(runner: Runner, path: Path) -> None:
    """Take the trained tensors from one of this run's checkpoints.

    Raises:
        ArtifactError: it is of another run, with what differs.
    """
    artifact = read_artifact(path)
    now = manifest_of(runner)
    for name, (before, after) in _differences(artifact.manifest, now).items():
        if json.loads(json.dumps(before)) != json.loads(json.dumps(after)):
            raise ArtifactError(
                f"{path} is of another run: its {name} was {brief(before)}, now {brief(after)}. "
                "Resume with the same model, method and data, or start afresh in another folder."
            )
    absent = now["training"].keys() - artifact.manifest["training"].keys() - LEFT_OUT
    untold = [name for name, known in SAME_SETTINGS.items() if known in absent]
    if untold:
        warn(
            f"{path} is of an earlier version, which did not write down the {', '.join(untold)}: whether they "
            "have changed cannot be checked."
        )
    runner.adaptation.restore(artifact.tensors, artifact.path)


def _differences(then: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What has to be the same, before and now, by its name in an error."""
    pairs = {name: (then.get(name), now[name]) for name in ("labels", "method", "layers", "seed", "quantize")}
    pairs["task"] = (then["task"]["name"], now["task"]["name"])
    options = then["task"].get("settings", {})
    for name, value in now["task"]["settings"].items():
        if name in options:  # an earlier version may not have had it
            pairs[f"{now['task']['name']} option {name}"] = (options[name], value)
    if same_base(then["base"]["fingerprint"], now["base"]["fingerprint"]) is False:
        pairs["base"] = (then["base"]["id"], f"another ({now['base']['id']})")
    for name, known in SAME_SETTINGS.items():
        if known in LEFT_OUT or known in then["training"]:
            pairs[name] = (then["training"].get(known), now["training"].get(known))
    return pairs
