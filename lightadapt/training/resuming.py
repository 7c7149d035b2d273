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
from lightadapt.errors import ArtifactError
from lightadapt.tasks import Feature

SAME_SETTINGS = {
    "number of records": "records",
    "number of sequences": "sequences",
    "number of tokens": "tokens",
    "order": "seed",
    "learning rate": "learning_rate",
    "batch_tokens": "batch_tokens",
    "number of batches a step": "gradient_accumulation_steps",
    "number of processes": "processes",
    "optimizer": "optimizer",
    "training data (texts, labels or their order)": "data",
}
"""Settings of a run that say where in an epoch a step is, and what the state of the optimizer is of."""


def digest_of(features: Iterable[Feature]) -> str:
    """A text that tells what is learned, and in which order."""
    digest = hashlib.sha256()
    for feature in features:
        digest.update(json.dumps([feature.inputs, feature.targets], default=_plain).encode())
    return digest.hexdigest()[:16]


def _plain(value: Any) -> Any:
    """An array or a number of NumPy or torch as plain Python; anything else by its name."""
    return value.tolist() if hasattr(value, "tolist") else repr(value)


def go_back(runner: Runner, path: Path) -> None:
    """Take the trained tensors from one of this run's checkpoints.

    Raises:
        ArtifactError: it is of another run, with what differs.
    """
    artifact = read_artifact(path)
    for name, (before, after) in _differences(artifact.manifest, manifest_of(runner)).items():
        if json.loads(json.dumps(before)) != json.loads(json.dumps(after)):
            raise ArtifactError(
                f"{path} is of another run: its {name} was {brief(before)}, now {brief(after)}. "
                "Resume with the same model, method and data, or start afresh in another folder."
            )
    runner.adaptation.restore(artifact.tensors, artifact.path)


def _differences(then: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What has to be the same, before and now, by its name in an error."""
    pairs = {name: (then.get(name), now[name]) for name in ("labels", "method", "layers", "seed", "quantize")}
    pairs["task"] = (then["task"]["name"], now["task"]["name"])
    for name, value in now["task"]["settings"].items():
        pairs[f"{now['task']['name']} option {name}"] = (then["task"].get("settings", {}).get(name), value)
    if same_base(then["base"]["fingerprint"], now["base"]["fingerprint"]) is False:
        pairs["base"] = (then["base"]["id"], f"another ({now['base']['id']})")
    for name, known in SAME_SETTINGS.items():
        pairs[name] = (then["training"].get(known), now["training"].get(known))
    return pairs
