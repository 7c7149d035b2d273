"""lightadapt.json as it is read: every field of the kind that it should be, and none taken for more than data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightadapt.adaptation.placing import MANIFEST_NAME
from lightadapt.errors import ArtifactError
from lightadapt.numbers import is_number, is_whole

SCHEMA = 3
"""Version of the manifest; raised when an older lightadapt could not read it right."""
WITHOUT_PROTOTYPES = 2
"""Version that is enough for a manifest of no prototypes."""
REQUIRED: dict[str, Any] = {
    **dict.fromkeys(("base", "task", "method", "training", "metrics"), dict),
    **dict.fromkeys(("outputs", "head"), list),
    "labels": (list, type(None)),
    "layers": (list, str, type(None)),
    "seed": int,
}
"""What the manifest must hold to be loaded, and of which kind."""
BASE = {"id", "revision", "class", "fingerprint"}
"""What it must say of the base."""
FORMATS = ("float32", "bfloat16", "float16")
LONGEST = 4096
"""Characters of a name or a path."""


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST and "\0" not in value


def _is_seed(value: Any) -> bool:
    return is_whole(value) and 0 <= value < 2**32


def _are_names(values: Any) -> bool:
    return isinstance(values, list) and all(map(_is_name, values)) and len(set(values)) == len(values)


def _are_labels(values: Any) -> bool:
    kinds = {type(value) for value in values or ()}
    return values is None or (len(values) > 0 and kinds in ({str}, {int}) and len(set(values)) == len(values))


def _are_hashes(values: Any) -> bool:
    return isinstance(values, dict) and all(
        _is_name(name) and isinstance(value, str) and re.fullmatch("[0-9a-f]{16,64}", value) is not None
        for name, value in values.items()
    )


def _are_layers(values: Any) -> bool:
    if isinstance(values, str):
        return len(values) <= 60
    return values is None or all(isinstance(each, int) and abs(each) < 10**6 for each in values)


def _are_steps(values: Any) -> bool:
    """Whether these are the steps of an adaptation, numbered from 0."""
    return isinstance(values, list) and all(
        isinstance(each, dict)
        and each.get("step") == number
        and is_whole(each.get("records"))
        and _are_labels(each.get("classes") or None)
        and isinstance(each.get("scores"), dict)
        and all(is_number(score) for score in each["scores"].values())
        and isinstance(each.get("state"), (dict, type(None)))
        for number, each in enumerate(values)
    )


CHECKS: dict[str, Callable[[Any], bool]] = {
    "base.id": lambda value: value is None or _is_name(value),
    "base.revision": lambda value: value is None or _is_name(value),
    "base.class": _is_name,
    "base.fingerprint": lambda value: _are_hashes(value) and len(value) > 0,
    "task.name": _is_name,
    "task.settings": lambda value: isinstance(value, dict),
    "method.name": _is_name,
    "method.settings": lambda value: isinstance(value, dict),
    "labels": _are_labels,
    "outputs": _are_names,
    "layers": _are_layers,
    "head": _are_names,
    "seed": _is_seed,
    "prototypes": lambda value: value in (None, "mean", "cls"),
    "discriminants": lambda value: isinstance(value, bool),
    "metrics": lambda values: all(map(is_number, values.values())),
    "versions": lambda value: value is None or isinstance(value, dict),
    "dtype": lambda value: value in FORMATS,
    "sha256": lambda value: _are_hashes({"sha256": value}),
    "digest": lambda value: _are_hashes({"digest": value}),
    "digests": _are_hashes,
    "files": _are_names,
    "steps": _are_steps,
}
"""What each field must satisfy, where it is there."""


def schema_of(manifest: Mapping[str, Any]) -> int:
    """The oldest version by which a manifest is read right."""
    return SCHEMA if manifest.get("prototypes") else WITHOUT_PROTOTYPES


def read_manifest(folder: Path, config_name: str) -> dict[str, Any]:
    """The content of lightadapt.json, checked for itself.

    Args:
        config_name: the file by which an adapter of another library is told.

    Raises:
        ArtifactError: there is none, it is damaged, or it was written by a newer lightadapt.
    """
    file = folder / MANIFEST_NAME
    if not file.is_file():
        hint = " It is a PEFT adapter of another library." if (folder / config_name).is_file() else ""
        raise ArtifactError(f"{folder} is not an adaptation saved by lightadapt: it has no {MANIFEST_NAME}.{hint}")
    manifest = read_json(file)
    schema: Any = manifest.get("schema")
    if not is_whole(schema) or not 0 <= schema < 2**32:
        raise ArtifactError(f"{file} is damaged: it names no schema version.")
    if schema > SCHEMA:
        versions = manifest.get("versions")
        version = versions.get("lightadapt", "") if isinstance(versions, dict) else ""
        raise ArtifactError(
            f"{file} has schema {schema}, written by lightadapt {str(version)[:20] or 'a newer version'}; this one "
            f"reads up to {SCHEMA}. Upgrade: pip install -U lightadapt"
        )
    check_fields(file, manifest)
    return manifest


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file of an artifact.

    Raises:
        ArtifactError: it cannot be read, or is not a JSON object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:  # numbers of thousands of digits are a ValueError, too
        raise ArtifactError(f"{file} is damaged: {str(error)[:120]}") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{file} is damaged: it holds a {type(content).__name__} where an object is needed.")
    return content


def check_fields(file: Path, manifest: Mapping[str, Any]) -> None:
    """Raise unless every field is there and of the kind that it should be.

    Raises:
        ArtifactError: which is not.
    """
    lacking = sorted({*REQUIRED, "sha256"} - manifest.keys())
    if lacking:
        raise ArtifactError(f"{file} is damaged: {lacking[0]!r} is missing.")
    wrong = [name for name, kinds in REQUIRED.items() if not isinstance(manifest[name], kinds)]
    if not wrong:
        wrong = [f"base.{name}" for name in sorted(BASE - manifest["base"].keys())]
    if not wrong:
        wrong = [name for name, fits in CHECKS.items() if not _fits(manifest, name, fits)]
    if wrong:
        raise ArtifactError(f"{file} is damaged: {wrong[0]!r} is not what it should be.")


def _fits(manifest: Mapping[str, Any], name: str, fits: Callable[[Any], bool]) -> bool:
    """Whether a field, of the manifest or of an object in it, is as it should be, or not there."""
    owner, _, inner = name.rpartition(".")
    fields = manifest[owner] if owner else manifest
    return inner not in fields or fits(fields[inner])
