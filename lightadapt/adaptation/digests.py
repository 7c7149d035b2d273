"""What says that the files of an artifact are as they were saved: a SHA-256 of each, and of the manifest itself."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from lightadapt.adaptation.placing import MANIFEST_NAME
from lightadapt.errors import ArtifactError

FREE = {"README.md"}
"""Files that may be edited: a model card says things to people, and nothing reads it."""
READ_BY_TRANSFORMERS = {
    *("added_tokens.json", "additional_chat_templates", "bpe.codes", "chat_template.jinja", "chat_template.json"),
    *("config.json", "emoji.json", "merges.txt", "params.json", "prefix.txt", "processor_config.json"),
    *("sentencepiece.bpe.model", "sentencepiece.model", "source.spm", "special_tokens_map.json", "spiece.model"),
    *("spm.model", "spm_char.model", "target.spm", "target_vocab.json", "tekken.json", "tiktoken.model"),
    *("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.bpe", "vocab.json", "vocab.txt"),
}
"""Names that a tokenizer is read from, whoever put a file there."""


def digests_of(folder: Path, but: str = MANIFEST_NAME) -> dict[str, str]:
    """The SHA-256 of every file in a folder but the one that they go into, by its path, with `/` between the parts."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: digest_of(folder / name) for name in files if name != but}


def digest_of(*files: Path) -> str:
    """The SHA-256 of the content of files, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def seal(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a manifest with the SHA-256 of itself."""
    plain: dict[str, Any] = json.loads(json.dumps({name: value for name, value in content.items() if name != "digest"}))
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return {**plain, "digest": hashlib.sha256(text.encode()).hexdigest()}


def check_digests(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise unless every file is as it was saved; artifacts of before have no digests of theirs but `sha256`.

    Raises:
        ArtifactError: which file is not.
    """
    way = "Copy the artifact again; if it was edited on purpose: load(…, verify=False)."
    if "digest" in manifest and seal(manifest)["digest"] != manifest["digest"]:
        raise ArtifactError(
            f"{folder / MANIFEST_NAME} is damaged or edited: its SHA-256 is not the recorded one. {way}"
        )
    for name, expected in manifest.get("digests", {}).items():
        if name not in FREE and digest_of(folder / name) != expected:
            raise ArtifactError(
                f"{folder / name} is damaged or from another save: its SHA-256 is not the one in {MANIFEST_NAME}. {way}"
            )
    for name in sorted(READ_BY_TRANSFORMERS - set(manifest.get("files", READ_BY_TRANSFORMERS))):
        if (folder / name).exists():
            raise ArtifactError(
                f"{folder} holds {name}, which is not part of the artifact, but would change its tokenizer. Remove it. "
                "If it was added on purpose: load(…, verify=False)."
            )


def check_paths(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise unless every file that is read lies in the folder.

    Raises:
        ArtifactError: a name leads out of the folder, a file is missing, or it is not a plain file.
    """
    for name in sorted({*manifest.get("files", ()), *manifest.get("digests", {})}):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or not path.parts:
            raise ArtifactError(f"{folder / MANIFEST_NAME} is damaged: the file {name[:60]!r} lies outside the folder.")
        if not (folder / name).exists() and name not in FREE:
            raise ArtifactError(f"{folder} is incomplete: {name[:60]} is missing. Save or copy it again.")
    for file in _read_files(folder, manifest):
        if not _lies_in(folder, file) or not stat.S_ISREG(file.stat().st_mode):
            raise ArtifactError(f"{file} is not a plain file of the folder {folder}, but leads elsewhere. Remove it.")


def _read_files(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Path]:
    """The files in the folder that loading reads."""
    for name in sorted({*manifest.get("files", ()), *READ_BY_TRANSFORMERS} - FREE):
        file = folder / name
        if file.is_dir() and not file.is_symlink():
            yield from (inner for inner in sorted(file.rglob("*")) if inner.is_symlink() or not inner.is_dir())
        elif file.is_symlink() or file.exists():
            yield file


def _lies_in(folder: Path, file: Path) -> bool:
    """Whether a file is in the folder, or where the hub's client keeps the files that its snapshots link to."""
    real, home = file.resolve(), folder.resolve()
    stored = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
    return real.exists() and (real.is_relative_to(home) or real.is_relative_to(stored))
