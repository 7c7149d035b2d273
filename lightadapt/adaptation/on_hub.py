"""Artifacts on the hub: fetched for `load`, and pushed, through the hub's own client."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightadapt.adaptation.model_card import PLACE
from lightadapt.adaptation.placing import MANIFEST_NAME
from lightadapt.adaptation.stored import read_manifest
from lightadapt.errors import ArtifactError, shown, unquoted, warn
from lightadapt.machine.hub import HUB_ID, is_owned_name
from lightadapt.peft_bridge import CONFIG_NAME


def is_on_hub(path: Any) -> bool:
    """Whether a name is to be asked of the hub: `owner/name`, and nothing here is called so."""
    return isinstance(path, str) and not os.path.exists(path) and is_owned_name(path)


def fetch(repo_id: str, revision: str | None) -> Path:
    """The files of an artifact on the hub, and no others, in a folder of the client's cache.

    Args:
        revision: branch, tag or commit; None: the main branch.

    Raises:
        ArtifactError: there is no such repository, or it holds no artifact.
    """
    from huggingface_hub import hf_hub_download, snapshot_download

    try:
        manifest_file = Path(hf_hub_download(repo_id, MANIFEST_NAME, revision=revision))
        folder = manifest_file.parent  # named by the commit, so that all files are of one
        files = read_manifest(folder, CONFIG_NAME).get("files") or ["*"]
        patterns = [pattern for name in files for pattern in (name, f"{name}/*")]
        return Path(snapshot_download(repo_id, revision=folder.name, allow_patterns=patterns))
    except ArtifactError:
        raise
    except Exception as error:  # the client raises many kinds; each means: it is not there to be read
        at = f" at revision {revision!r}" if revision else ""
        raise ArtifactError(
            f"There is no folder {repo_id} here (looked from {Path.cwd()}), and it cannot be loaded from the hub{at} "
            f"({_reason(error)}). Check the name and the network; if it is private, log in: hf auth login."
        ) from error


@contextmanager
def named(repo_id: str) -> Iterator[None]:
    """A block whose errors about an artifact say which one on the hub it is."""
    try:
        yield
    except ArtifactError as error:
        text = str(error)
        raise (error if repo_id in text else ArtifactError(f"{repo_id} on the hub: {text}")) from error.__cause__


def push(folder: Path, repo_id: str, *, private: bool | None, revision: str | None, message: str) -> str:
    """Upload a saved artifact, and return the address of its repository.

    Raises:
        ArtifactError: the hub refuses it, or cannot be reached.
    """
    from huggingface_hub import HfApi

    card = folder / "README.md"
    try:
        api = HfApi()
        repository = api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repository.repo_id, branch=revision, exist_ok=True)
        card.write_text(card.read_text(encoding="utf-8").replace(PLACE, repository.repo_id), encoding="utf-8")
        api.upload_folder(repo_id=repository.repo_id, folder_path=folder, commit_message=message, revision=revision)
    except Exception as error:  # as above
        raise ArtifactError(
            f"push_to_hub({repo_id!r}) failed ({_reason(error)}). Check the network, and log in with a token that may "
            "write: hf auth login."
        ) from error
    return str(repository)


def check_pushed(repo_id: Any, base: str | None) -> None:
    """Raise for what is no name on the hub; warn of a base that others do not have.

    Args:
        base: the hub id or the folder of the base model; None: it was in memory.

    Raises:
        ArtifactError: it is not `owner/name`.
    """
    if not isinstance(repo_id, str) or not HUB_ID.fullmatch(repo_id) or not _is_valid(repo_id):
        raise ArtifactError(f"push_to_hub({shown(repo_id)}): give an id on the hub, such as 'owner/name'.")
    if base is None or Path(base).is_absolute():
        warn(
            f"push_to_hub({repo_id!r}): its base model is {'in memory' if base is None else 'a folder here'}, so "
            "whoever loads it has to say where it is: load(…, base=…). The upload names that folder, too. To avoid "
            "both, adapt a model by its hub id."
        )


def _is_valid(repo_id: str) -> bool:
    """Whether the hub's client takes it: not where a part of it begins with a dash, ends with .git, or is too long."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError:
        return False
    return True


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {unquoted(' '.join(lines), 200)}" if lines else type(error).__name__
