"""The artifact: a small folder with what was trained and what it takes to use it; nothing in it executes."""

from __future__ import annotations

import hashlib
import json
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from peft import PeftConfig
from safetensors.torch import save_file

import lightadapt.tuners  # noqa: F401 - registers the configs that artifacts may hold
from lightadapt import peft_bridge
from lightadapt.adaptation.damage import reason_of
from lightadapt.adaptation.digests import check_digests, check_paths, digest_of, digests_of, seal
from lightadapt.adaptation.past import MEMORY_NAME, STEPS_NAME, Past, at_step, read_past, write_past
from lightadapt.adaptation.placing import MANIFEST_NAME, folder_named, fresh_folder, locked, previous_of, put_in_place
from lightadapt.adaptation.stored import check_fields, read_manifest, schema_of
from lightadapt.adaptation.tensors import first_not_finite, read_tensors
from lightadapt.adaptation.training_summary import SUMMARY_NAME, TrainingSummary, read_summary
from lightadapt.errors import ArtifactError, LightAdaptError

Read = TypeVar("Read")
ATTEMPTS = 200
"""How often an artifact is read that somebody replaces meanwhile."""


@dataclass(frozen=True)
class Artifact:
    """What a saved folder holds, read and checked for itself."""

    path: Path
    manifest: dict[str, Any]
    config: PeftConfig | None
    tensors: dict[str, torch.Tensor]
    summary: TrainingSummary | None = None
    """Of the training data; None where none was kept, as by earlier versions."""
    state: tuple[Any, ...] = ()
    """What told the folder from others that were in its place, when it was read."""
    past: Past = field(default_factory=Past)
    """What it keeps of the steps in which it learned."""


def is_of_adapter(name: str) -> bool:
    """Whether a file of an artifact is of what was trained, by its path in there; all others are the tokenizer's."""
    own = (peft_bridge.CONFIG_NAME, peft_bridge.WEIGHTS_NAME, SUMMARY_NAME, "README.md", MEMORY_NAME, STEPS_NAME)
    return name.partition("/")[0] in own


def tokenizer_digest(artifact: Artifact) -> str:
    """The SHA-256 of the tokenizer's files in an artifact: those of equal ones are one tokenizer."""
    files = {name: digest for name, digest in digests_of(artifact.path).items() if not is_of_adapter(name)}
    ours = set(artifact.manifest.get("files", ()))
    kept = {name: digest for name, digest in files.items() if name.partition("/")[0] in ours}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def write_artifact(
    path: str | Path,
    *,
    manifest: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    write_config: Callable[[Path], None],
    write_tokenizer: Callable[[Path], Any],
    card: str,
    summary: TrainingSummary | None = None,
    past: Past | None = None,
) -> None:
    """Write the folder as a whole or not at all; an artifact that was there is replaced only by a complete one.

    Raises:
        ArtifactError: the folder holds something else, or cannot be written; or a tensor is not finite.
    """
    target = folder_named(path)
    broken = first_not_finite(tensors)
    if broken is not None:
        raise ArtifactError(
            f"{target} is not written: {broken} holds values that are not finite, so the training went wrong. Train "
            "again with a smaller learning rate. What was saved there before is unchanged."
        )
    try:
        with fresh_folder(target) as fresh:
            save_file(
                {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
                fresh / peft_bridge.WEIGHTS_NAME,
                metadata={"format": "pt"},
            )
            write_config(fresh / peft_bridge.CONFIG_NAME)
            write_tokenizer(fresh)
            if summary is not None:
                summary.write(fresh / SUMMARY_NAME)
            (fresh / "README.md").write_text(card, encoding="utf-8")
            write_past(fresh, past or Past())
            _write_manifest(fresh, manifest)
            _give_usual_mode(fresh)
            put_in_place(target, fresh)
    except LightAdaptError:
        raise
    except Exception as error:  # tokenizers raise bare Exceptions where a disk is full
        raise ArtifactError(
            f"{target} cannot be written: {error}. What was saved there before is unchanged."
        ) from error


def _give_usual_mode(fresh: Path) -> None:
    """Let all files be as readable as any that this process writes; safetensors keeps its own to their owner."""
    usual = stat.S_IMODE((fresh / MANIFEST_NAME).stat().st_mode)
    for file in fresh.rglob("*"):
        if file.is_file() and stat.S_IMODE(file.stat().st_mode) != usual:
            file.chmod(usual)


def _write_manifest(fresh: Path, manifest: Mapping[str, Any]) -> None:
    """Write lightadapt.json, with the facts about all files of the folder."""
    files = sorted([*(entry.name for entry in fresh.iterdir()), MANIFEST_NAME])
    facts = {"sha256": _digest(fresh), "files": files, "digests": digests_of(fresh)}
    content = seal({"schema": schema_of(manifest), **manifest, **facts})
    (fresh / MANIFEST_NAME).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_artifact(path: str | Path, *, verify: bool = True, step: int | None = None) -> Artifact:
    """The content of a saved folder; it is only read, and when somebody saves there meanwhile, read again.

    Args:
        verify: whether every file has to be as it was saved.
        step: the step at whose end the adaptation is wanted; None: as it was saved.

    Raises:
        ArtifactError: it is no saved adaptation, it is damaged, it was written by a newer lightadapt, or it does not
            hold that step.
    """
    with reading(path):
        found = _read_whole(folder_named(path), verify=verify)
    return found if step is None else _as_it_was(found, step)


def _as_it_was(artifact: Artifact, step: int) -> Artifact:
    """The artifact as it would have been saved at the end of a step."""
    manifest, tensors, past = at_step(artifact.path, artifact.manifest, artifact.tensors, artifact.past, step)
    check_fields(artifact.path / MANIFEST_NAME, manifest)
    summary = artifact.summary if len(past.steps) == len(artifact.past.steps) else None  # that is of all steps
    return replace(artifact, manifest=manifest, tensors=tensors, summary=summary, past=past)


def reading(path: str | Path) -> AbstractContextManager[None]:
    """A block in which no other process puts an artifact in the place of this one."""
    return locked(folder_named(path).parent, shared=True)


def _read_whole(folder: Path, *, verify: bool) -> Artifact:
    """One state of the folder, also where there are no locks."""
    for attempt in range(ATTEMPTS):
        place = _place_of(folder)
        before = _state_of(place)
        try:
            found = _read(place, verify=verify)
        except (ArtifactError, OSError) as error:
            if before == _state_of(_place_of(folder)):
                if isinstance(error, ArtifactError):
                    raise
                raise ArtifactError(f"{place} cannot be read: {error}") from error
        else:
            if before == _state_of(place):
                return replace(found, state=before)
        _pause(attempt)
    raise ArtifactError(f"{folder} keeps being replaced. Load it when nothing is being saved there.")


def _pause(attempt: int) -> None:
    """Wait a moment, never as long as the last time, so as not to fall into step with whoever saves over and over.

    All pauses together are a second. They are short, because of a save that takes as long as reading does, only one in
    ten attempts gets between two.
    """
    time.sleep(0.002 * (1 + attempt % 5))


class ReplacedError(ArtifactError):
    """Another process saved to the folder while it was read; reading it again gives the new state."""


def check_unchanged(artifact: Artifact) -> None:
    """Raise when the folder is another one than when the artifact was read, as it may be where there are no locks.

    Raises:
        ReplacedError: it is.
    """
    if artifact.state != _state_of(artifact.path):
        raise ReplacedError(f"{artifact.path} was replaced while it was read. Load it again.")


def read_unreplaced(read: Callable[[], Read]) -> Read:
    """What `read` gives, which is called again when another process replaced the folder meanwhile.

    Raises:
        ReplacedError: it is replaced all the time.
    """
    for attempt in range(ATTEMPTS):
        try:
            return read()
        except ReplacedError:
            _pause(attempt)
    return read()


def _place_of(folder: Path) -> Path:
    """The folder, or the former one where a save ended between taking it away and putting the new one there."""
    previous = previous_of(folder)
    return previous if _holds_nothing(folder) and (previous / MANIFEST_NAME).is_file() else folder


def _holds_nothing(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except FileNotFoundError:  # also when it is taken away at this very moment
        return True
    except (OSError, ValueError):  # a file, or what cannot be looked into: reading it says so
        return False


def _state_of(folder: Path) -> tuple[Any, ...]:
    """What tells a folder from another that has taken its place."""
    found: list[Any] = [folder]
    for path in (folder, folder / MANIFEST_NAME, folder / peft_bridge.WEIGHTS_NAME):
        try:
            facts = path.stat()
        except (OSError, ValueError):
            continue
        found += [facts.st_dev, facts.st_ino, *(() if path == folder else (facts.st_size, facts.st_mtime_ns))]
    return tuple(found)


def _read(folder: Path, *, verify: bool) -> Artifact:
    if not folder.is_dir():
        raise ArtifactError(f"There is no folder {folder} (looked from {Path.cwd()}).")
    manifest = read_manifest(folder, peft_bridge.CONFIG_NAME)
    weights, settings = folder / peft_bridge.WEIGHTS_NAME, folder / peft_bridge.CONFIG_NAME
    for name in (weights, settings):
        if not name.is_file():
            raise ArtifactError(f"{folder} is incomplete: {name.name} is missing. Save or copy it again.")
    check_paths(folder, manifest)
    if verify and "digests" not in manifest and _digest(folder) != manifest["sha256"]:
        raise ArtifactError(
            f"{weights} or {peft_bridge.CONFIG_NAME} is damaged or from another save: their SHA-256 is not the one in "
            f"{MANIFEST_NAME}. Copy them again."
        )
    if verify:
        check_digests(folder, manifest)
    try:
        config = peft_bridge.read_config(settings)
    except Exception as error:  # a field of the wrong kind fails in PEFT in any way
        raise ArtifactError(f"{settings} cannot be used: {reason_of(error)}") from error
    try:
        tensors = read_tensors(weights)
    except Exception as error:  # as above, in safetensors
        raise ArtifactError(f"{weights} cannot be read: {reason_of(error)}") from error
    broken = first_not_finite(tensors)
    if broken is not None:
        raise ArtifactError(f"{weights}: {broken} holds values that are not finite. Save or copy it again.")
    _check_sizes(settings, config, tensors)
    has_summary = SUMMARY_NAME in manifest.get("files", ())
    summary = read_summary(folder / SUMMARY_NAME) if has_summary else None
    return Artifact(folder, manifest, config, tensors, summary, past=read_past(folder, manifest))


def _check_sizes(settings: Path, config: PeftConfig | None, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise for a config that asks for larger tensors than the weights have, before memory is taken for them."""
    kind = str(getattr(getattr(config, "peft_type", None), "value", getattr(config, "peft_type", None)))
    largest = max((length for tensor in tensors.values() for length in tensor.shape), default=0)
    asked = [(name, getattr(config, name, None)) for name in ("num_virtual_tokens", "bottleneck_size")]
    patterns = getattr(config, "rank_pattern", None)
    patterns = patterns if isinstance(patterns, dict) else {}
    if kind in ("LORA", "ADALORA", "VERA"):
        asked += [("r", getattr(config, "r", None)), *(("rank_pattern", rank) for rank in patterns.values())]
    for name, size in asked:
        if isinstance(size, int) and size > largest:
            raise ArtifactError(f"{settings} has {name}={str(size)[:40]}, but no tensor of the weights is that large.")


def _digest(folder: Path) -> str:
    """The SHA-256 of the adapter's config and weights, in this order."""
    return digest_of(folder / peft_bridge.CONFIG_NAME, folder / peft_bridge.WEIGHTS_NAME)
