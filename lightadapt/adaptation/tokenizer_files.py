"""The tokenizer's files in an artifact: data alone, the same whatever was done before, and looked through when read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

from lightadapt.adaptation.stored import read_json
from lightadapt.errors import ArtifactError

SETTINGS = "tokenizer_config.json"
JSON_FILES = (
    *(SETTINGS, "tokenizer.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "config.json"),
    *("processor_config.json", "chat_template.json"),
)
CODE = ("auto_map", "custom_pipelines", "init_inputs")
"""Settings that name code, or hand arguments on to it."""
IGNORED_PATHS = ("special_tokens_map_file",)
"""Settings that transformers 4 wrote, and that nobody opens."""


def write_tokenizer_files(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a tokenizer as it is between two calls.

    Truncation and padding are those of each call, but a fast tokenizer writes what the last one left of them; by their
    files, adaptations with the same tokenizer are known to share it.
    """
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is not None:
        fast.no_truncation()
        fast.no_padding()
    tokenizer.save_pretrained(folder)


def check_tokenizer_files(folder: Path) -> None:
    """Raise for a tokenizer that needs code of its own, or that reaches out of its folder.

    Raises:
        ArtifactError: which setting is wrong, or which file is damaged.
    """
    for name in JSON_FILES:
        if (folder / name).is_file():
            _check_settings(folder / name, read_json(folder / name), is_tokenizer=name == SETTINGS)


def _check_settings(file: Path, settings: Mapping[str, Any], *, is_tokenizer: bool) -> None:
    for name in CODE:
        if settings.get(name):
            raise ArtifactError(
                f"{file} has {name}={str(settings[name])[:60]}: its tokenizer needs code of its own, and load runs "
                "none that an artifact names. Save it with a tokenizer of transformers."
            )
    if is_tokenizer:
        _check_class(file, settings.get("tokenizer_class"))
        _check_length(file, settings.get("model_max_length"))
        for name, value in settings.items():
            _check_path(file, name, value)


def _check_class(file: Path, name: Any) -> None:
    """Raise unless it is a tokenizer of transformers, or one that this process registered there."""
    if name is None:
        return
    known = tokenizer_class_from_name(name) if isinstance(name, str) and name.isidentifier() else None
    if known is None or not issubclass(known, PreTrainedTokenizerBase):
        raise ArtifactError(
            f"{file} has tokenizer_class={str(name)[:60]!r}, which is not a tokenizer of the "
            "transformers installed here. If it is new: pip install -U transformers"
        )


def _check_length(file: Path, length: Any) -> None:
    if length is not None and (isinstance(length, bool) or not isinstance(length, (int, float)) or not length >= 1):
        raise ArtifactError(f"{file} has model_max_length={str(length)[:60]!r}, but a number of tokens is needed.")


def _check_path(file: Path, name: str, value: Any) -> None:
    """Raise for a setting that names a file elsewhere."""
    if not name.endswith(("_file", "_files", "_spm")) or name in IGNORED_PATHS:
        return
    for path in value if isinstance(value, list) else [value]:
        if path is not None and (not isinstance(path, str) or "/" in path or "\\" in path or path.startswith("..")):
            raise ArtifactError(f"{file} has {name}={str(value)[:60]!r}: tokenizers read files of their folder only.")
