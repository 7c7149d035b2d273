"""The artifact: a small folder with what was trained and what it takes to use it; nothing in it executes."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from peft import PeftConfig
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

import lightadapt.tuners  # noqa: F401 - registers the configs that artifacts may hold
from lightadapt import peft_bridge
from lightadapt.errors import ArtifactError
from lightadapt.machine.processes import shard_like, unshard

MANIFEST_NAME = "lightadapt.json"
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
SCHEMA = 2
"""Version of the manifest; raised when an older lightadapt could not read it right."""


@dataclass(frozen=True)
class Artifact:
    """What a saved folder holds, read and checked for itself."""

    path: Path
    manifest: dict[str, Any]
    config: PeftConfig | None
    tensors: dict[str, torch.Tensor]


def trained_tensors(
    adapter: peft_bridge.Adapter, trained: Iterable[str], modules: Iterable[str]
) -> dict[str, torch.Tensor]:
    """Everything that training changes, under the names of PEFT's files.

    Of a model that is in parts, one in each process, these are the whole tensors; all processes have to call this.

    Args:
        trained: parameters of the model itself that are trained.
        modules: modules that are trained as a whole; their buffers belong to them.
    """
    tensors = adapter.tensors() | _own_tensors(adapter.model, trained, modules)
    return {f"{peft_bridge.PREFIX}{name}": unshard(tensors[name]) for name in sorted(tensors)}


def _own_tensors(model: PreTrainedModel, trained: Iterable[str], modules: Iterable[str]) -> dict[str, torch.Tensor]:
    """The tensors of the model itself that are trained, with the buffers of modules that are trained as a whole."""
    found = {name: model.get_parameter(name).detach() for name in trained}
    for path in modules:
        module = model.get_submodule(path)
        kept = module.state_dict().keys()
        found |= {f"{path}.{name}": buffer for name, buffer in module.named_buffers() if name in kept}
    return found


def restore(
    adapter: peft_bridge.Adapter,
    trained: Iterable[str],
    modules: Iterable[str],
    tensors: Mapping[str, torch.Tensor],
    where: Path,
) -> None:
    """Write saved tensors into the model.

    Raises:
        ArtifactError: a tensor is missing, is not known to the model, or has another shape; nothing is written.
    """
    expected = trained_tensors(adapter, trained, modules)
    missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    for names, what in ((missing, "is missing"), (extra, "is not part of this adaptation")):
        if names:
            more = f" ({len(names)} tensors in all)" if len(names) > 1 else ""
            raise ArtifactError(f"{where / peft_bridge.WEIGHTS_NAME}: the tensor {names[0]!r} {what}{more}.")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise ArtifactError(
                f"{where / peft_bridge.WEIGHTS_NAME}: {name!r} has the shape {list(tensor.shape)}, but the model needs "
                f"{list(expected[name].shape)}. The artifact belongs to another base or task."
            )
    plain = {name.removeprefix(peft_bridge.PREFIX): tensor for name, tensor in tensors.items()}
    own = _own_tensors(adapter.model, trained, modules)
    inserted = {name: tensor for name, tensor in plain.items() if name not in own}
    if inserted:
        adapter.load_tensors(inserted)
    with torch.no_grad():
        for name, place in own.items():
            place.copy_(shard_like(place, plain[name]))


def tokenizer_digest(artifact: Artifact) -> str:
    """The SHA-256 of the tokenizer's files in an artifact: those of equal ones are one tokenizer."""
    digest = hashlib.sha256()
    own = {peft_bridge.CONFIG_NAME, peft_bridge.WEIGHTS_NAME, MANIFEST_NAME, "README.md"}
    for name in sorted(set(artifact.manifest.get("files", ())) - own):
        if (artifact.path / name).is_file():
            digest.update(f"{name}\0".encode() + (artifact.path / name).read_bytes())
    return digest.hexdigest()


def write_artifact(
    path: str | Path,
    *,
    manifest: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    write_config: Callable[[Path], None],
    write_tokenizer: Callable[[Path], Any],
    card: str,
) -> None:
    """Write the folder as a whole or not at all; an artifact that was there is replaced only by a complete one.

    Raises:
        ArtifactError: the folder holds something else, or cannot be written.
    """
    target = _as_path(path)
    _recover(target)
    if target.is_file() or (target.is_dir() and any(target.iterdir()) and not (target / MANIFEST_NAME).is_file()):
        raise ArtifactError(f"{target} holds other files and is not a saved adaptation. Choose another folder.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f".{glob.escape(target.name)}.????????.part"):  # of a save that was killed
            shutil.rmtree(left, ignore_errors=True)
        fresh = target.with_name(f".{target.name}.{uuid4().hex[:8]}.part")
        fresh.mkdir()
    except OSError as error:
        raise ArtifactError(f"{target} cannot be written: {error}") from error
    try:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            fresh / peft_bridge.WEIGHTS_NAME,
            metadata={"format": "pt"},
        )
        write_config(fresh / peft_bridge.CONFIG_NAME)
        write_tokenizer(fresh)
        (fresh / "README.md").write_text(card, encoding="utf-8")
        files = sorted([*(entry.name for entry in fresh.iterdir()), MANIFEST_NAME])
        content = {"schema": SCHEMA, **manifest, "sha256": _digest(fresh), "files": files}
        (fresh / MANIFEST_NAME).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        _replace(target, fresh)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            f"{target} cannot be written: {error}. What was saved there before is unchanged."
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def read_artifact(path: str | Path) -> Artifact:
    """The content of a saved folder.

    Raises:
        ArtifactError: it is no saved adaptation, it is damaged, or it was written by a newer lightadapt.
    """
    folder = _as_path(path)
    _recover(folder)
    if not folder.is_dir():
        raise ArtifactError(f"There is no folder {folder} (looked from {Path.cwd()}).")
    manifest = _read_manifest(folder)
    weights = folder / peft_bridge.WEIGHTS_NAME
    for name in (weights, folder / peft_bridge.CONFIG_NAME):
        if not name.is_file():
            raise ArtifactError(f"{folder} is incomplete: {name.name} is missing. Save or copy it again.")
    if _digest(folder) != manifest["sha256"]:
        raise ArtifactError(
            f"{weights} or {peft_bridge.CONFIG_NAME} is damaged or from another save: their SHA-256 is not the one in "
            f"{MANIFEST_NAME}. Copy them again."
        )
    try:
        tensors = load_file(weights)
        config = peft_bridge.read_config(folder / peft_bridge.CONFIG_NAME)
    except (SafetensorError, json.JSONDecodeError, OSError, TypeError, KeyError) as error:
        raise ArtifactError(f"{folder} cannot be read: {error}") from error
    return Artifact(folder, manifest, config, tensors)


def _as_path(path: str | Path) -> Path:
    if not isinstance(path, (str, Path)) or Path(path).name in ("", ".."):
        raise ArtifactError(f"path={path!r} names no folder. Give the folder of the artifact, such as 'my-adapter'.")
    try:
        return Path(path).resolve() if Path(path).is_symlink() else Path(path)
    except OSError as error:
        raise ArtifactError(f"path={str(path)[:60]!r}… is no folder name: {error.strerror}.") from error


def _read_manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST_NAME
    if not file.is_file():
        hint = " It is a PEFT adapter of another library." if (folder / peft_bridge.CONFIG_NAME).is_file() else ""
        raise ArtifactError(f"{folder} is no adaptation saved by lightadapt: it has no {MANIFEST_NAME}.{hint}")
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{file} is damaged: {error}") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("schema"), int):
        raise ArtifactError(f"{file} is damaged: it names no schema version.")
    if manifest["schema"] > SCHEMA:
        version = manifest.get("versions", {}).get("lightadapt", "a newer version")
        raise ArtifactError(
            f"{file} has schema {manifest['schema']}, written by lightadapt {version}; this one reads up to {SCHEMA}. "
            "Upgrade: pip install -U lightadapt"
        )
    lacking = sorted({*REQUIRED, "sha256"} - manifest.keys())
    if lacking:
        raise ArtifactError(f"{file} is damaged: {lacking[0]!r} is missing.")
    wrong = [name for name, kinds in REQUIRED.items() if not isinstance(manifest[name], kinds)]
    wrong += [] if "base" in wrong or isinstance(manifest["base"].get("fingerprint"), dict) else ["base.fingerprint"]
    wrong += [f"base.{name}" for name in BASE - (set() if "base" in wrong else manifest["base"].keys())]
    if wrong:
        raise ArtifactError(f"{file} is damaged: {wrong[0]!r} is not what it should be.")
    return manifest


def _digest(folder: Path) -> str:
    """The SHA-256 of the adapter's config and weights, in this order."""
    digest = hashlib.sha256()
    for name in (peft_bridge.CONFIG_NAME, peft_bridge.WEIGHTS_NAME):
        with (folder / name).open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _files_of(folder: Path) -> set[str]:
    """The names of the files that a save wrote there; none where the manifest is absent or damaged."""
    try:
        return set(json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _previous(target: Path) -> Path:
    return target.with_name(f".{target.name}.previous")


def _replace(target: Path, fresh: Path) -> None:
    """Put `fresh` in the place of `target`; a crash in between is mended by `_recover`."""
    previous = _previous(target)
    if target.is_dir():
        ours = _files_of(target)
        for entry in target.iterdir():  # the user's own files in the folder stay
            if entry.name not in ours and not (fresh / entry.name).exists():
                (shutil.copytree if entry.is_dir() else shutil.copy2)(entry, fresh / entry.name)
        os.replace(target, previous)
    os.replace(fresh, target)
    shutil.rmtree(previous, ignore_errors=True)


def _recover(target: Path) -> None:
    """Finish what a crash in the middle of `_replace` left: the former artifact goes back to its place."""
    previous = _previous(target)
    if not previous.is_dir():
        return
    if (target / MANIFEST_NAME).is_file():
        shutil.rmtree(previous, ignore_errors=True)
    elif not target.exists() or not any(target.iterdir()):
        if target.exists():
            target.rmdir()
        os.replace(previous, target)
