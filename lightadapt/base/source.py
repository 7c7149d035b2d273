"""Where a base model and its tokenizer come from: a hub id, a folder, or an instance."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from safetensors import safe_open
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import cached_file

from lightadapt import peft_bridge
from lightadapt.anatomy import family_of
from lightadapt.errors import LightAdaptError, shown, unquoted
from lightadapt.machine.hub import may_be_on_hub
from lightadapt.tasks import Task

Model: TypeAlias = "str | Path | PreTrainedModel"
FILES_OF_MODELS = (
    ".bin",
    ".ckpt",
    ".gguf",
    ".h5",
    ".json",
    ".onnx",
    ".pt",
    ".pth",
    ".safetensors",
    ".tar",
    ".txt",
    ".zip",
)
"""The ends of files in which weights lie: no id on the hub has them."""


@dataclass(frozen=True)
class Source:
    """Where a base model comes from, with its config; no weights yet."""

    config: PretrainedConfig
    id: str | None
    """Hub id or absolute folder; None for an instance that came from nowhere."""
    instance: PreTrainedModel | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    state_dict: Mapping[str, Any] | None = None
    """Weights that take the place of the checkpoint's."""

    @property
    def name(self) -> str:
        return self.id or f"a {self.config.model_type} model in memory"


def find_source(model: Model, *, revision: str | None = None, trust_remote_code: bool = False) -> Source:
    """The source of a model by hub id, folder or instance.

    Raises:
        LightAdaptError: there is no such model, or it is no transformers model.
    """
    if isinstance(model, PreTrainedModel):
        if peft_bridge.is_marked(model):
            raise LightAdaptError(
                f"This {type(model).__name__} already carries an adapter. Load its base anew, or give what merge() of "
                "the adapted model makes (of a PeftModel: unload() or merge_and_unload())."
            )
        name = model.name_or_path or None
        if name and os.path.isdir(name):
            name = str(Path(name).resolve())
        return Source(model.config, name, instance=model, revision=getattr(model.config, "_commit_hash", None))
    if not isinstance(model, (str, Path)):
        hint = ""
        if hasattr(model, "get_base_model"):  # which still holds the adapter
            hint = " Of a PeftModel give unload(), its base alone, or merge_and_unload(), which has the adapter in it."
        raise LightAdaptError(
            f"model is a {type(model).__name__}. Give a hub id, a folder, or a transformers PreTrainedModel.{hint}"
        )
    return _find_named(str(model), revision, trust_remote_code)


def _find_named(name: str, revision: str | None, trust_remote_code: bool) -> Source:
    if not name.strip():
        raise LightAdaptError("model is an empty text. Give a hub id, a folder, or a transformers PreTrainedModel.")
    folder = Path(name).expanduser()
    if os.path.isdir(folder):  # which is also told of a name that no folder can have
        _check_folder(folder)
        name = str(folder.resolve())
    elif os.path.isfile(folder):
        raise LightAdaptError(f"{name} is a file. Give the folder of the model, which holds its config.json.")
    elif means_a_folder(name):
        raise LightAdaptError(f"The model folder {unquoted(name)} does not exist (looked from {Path.cwd()}).")
    try:
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=trust_remote_code)
    except Exception as error:  # the hub client and the parsers raise many kinds; each means: no usable config
        where = (
            "The config of" if os.path.isdir(folder) else "There is no such folder here, and no config on the hub for"
        )
        raise LightAdaptError(
            f"{where} {shown(name, 120)} ({first_line(error)}). Check the name, and the network."
        ) from error
    commit = getattr(config, "_commit_hash", None)
    return Source(config, name, revision=commit or revision, trust_remote_code=trust_remote_code)


def means_a_folder(name: str) -> bool:
    """Whether a name of nothing that is here is that of a folder or a file, which the hub must not be asked for."""
    return name.endswith(FILES_OF_MODELS) or not may_be_on_hub(name)


def _check_folder(folder: Path) -> None:
    if (folder / "config.json").is_file():
        return
    if (folder / "adapter_config.json").is_file():
        raise LightAdaptError(f"{folder} is a saved adapter, not a base model. Use lightadapt.load({str(folder)!r}).")
    raise LightAdaptError(f"The folder {folder} holds no model: it has no config.json.")


def tensor_names(source: Source) -> set[str]:
    """The names of the tensors in a checkpoint of safetensors; none where they cannot be told without reading it."""
    return set(_tensor_files(source))


def stray_tensors(source: Source, known: Collection[str]) -> Mapping[str, Any]:
    """The tensors of a checkpoint that are not known yet, under their names there; nothing else is read.

    Args:
        known: names of parameters, in every spelling that a checkpoint may have.
    """
    whole = source.state_dict if source.instance is None else source.instance.state_dict()
    if whole is not None:
        return {name: tensor for name, tensor in whole.items() if not _belongs_to(name, known)}
    found: dict[str, Any] = {}
    for name, file in _tensor_files(source).items():
        if not _belongs_to(name, known):
            with safe_open(file, "pt") as tensors:
                found[name] = tensors.get_tensor(name)
    return found


def _belongs_to(name: str, known: Collection[str]) -> bool:
    """Whether a tensor is a known parameter, or part of one that is quantized (`….weight.absmax`)."""
    parts = name.split(".")
    starts = {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
    return not starts.isdisjoint(known)


def find_file(source: Source, name: str) -> Path | None:
    """Where a file that lies with a model of that id is; None where there is none, or it cannot be reached."""
    found = cached_file(
        source.id,
        name,
        revision=source.revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return None if found is None else Path(found)


def _tensor_files(source: Source) -> dict[str, Path]:
    """For each tensor of a checkpoint of safetensors the file that holds it; none where it is in another format."""
    index = find_file(source, "model.safetensors.index.json")
    if index is not None:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = {name: find_file(source, name) for name in set(places.values())}
        return {name: file for name, place in places.items() if (file := files[place]) is not None}
    file = find_file(source, "model.safetensors")
    if file is None:
        return {}
    with safe_open(file, "pt") as tensors:
        return dict.fromkeys(tensors.keys(), file)


def load_tokenizer(source: Source, given: Any, task: Task) -> Any:
    """The given tokenizer (an object, or where to load it from), or the one that lies with the model.

    Raises:
        LightAdaptError: there is none, or it cannot serve the model or the task.
    """
    tokenizer = given
    if given is None:
        if source.id is None:
            raise LightAdaptError("A model in memory has no tokenizer with it. Pass tokenizer=…")
        given = source.id
    if isinstance(given, (str, Path)):
        _check_tokenizer_folder(Path(given))
        if not os.path.exists(given) and means_a_folder(str(given)):
            raise LightAdaptError(f"The tokenizer {unquoted(str(given))} does not exist (looked from {Path.cwd()}).")
        revision = source.revision if str(given) == source.id else None
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                str(given), revision=revision, trust_remote_code=source.trust_remote_code
            )
        except Exception as error:  # as in _find_named
            raise LightAdaptError(f"No tokenizer in {given} ({first_line(error)}). Pass tokenizer=…") from error
    check_tokenizer(tokenizer, source, task)
    return task.fit_tokenizer(_with_padding(tokenizer, source.config), family_of(source.config))


def _with_padding(tokenizer: Any, config: PretrainedConfig) -> Any:
    """The tokenizer with a token for padding, and cutting texts at their end; a copy when that is not so already.

    The token is the model's where that is a special one, else the end token, so that no embedding is added. What is
    padding is told by the attention mask and by lengths, never by the token.

    Raises:
        LightAdaptError: there is no token to take.
    """
    if tokenizer.pad_token_id is not None and tokenizer.truncation_side == "right":
        return tokenizer
    tokenizer = copy.deepcopy(tokenizer)  # the caller's stays as it is
    tokenizer.truncation_side = "right"
    if tokenizer.pad_token_id is not None:
        return tokenizer
    own = config.get_text_config().pad_token_id
    added = tokenizer.added_tokens_decoder
    ids = [own if own in tokenizer.all_special_ids or (own in added and added[own].special) else None]
    ids += [tokenizer.eos_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id]
    usable = [number for number in ids if isinstance(number, int) and 0 <= number < len(tokenizer)]
    if not usable:
        raise LightAdaptError(
            f"{type(tokenizer).__name__} has neither a padding token nor an end token. Set tokenizer.pad_token to one "
            "of its tokens, and pass tokenizer=…"
        )
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(usable[0])
    return tokenizer


def check_tokenizer(tokenizer: Any, source: Source, task: Task) -> None:
    """Raise when a tokenizer is none, or cannot serve the model or the task."""
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise LightAdaptError(
            f"tokenizer is a {type(tokenizer).__name__}. Give a transformers tokenizer, or its folder."
        )
    if task.needs_offsets and not tokenizer.is_fast:
        raise LightAdaptError(
            f"Task {task.name!r} needs a fast tokenizer (one that knows character offsets), but "
            f"{type(tokenizer).__name__} is none. Pass tokenizer= with a fast one."
        )
    rows = source.config.get_text_config().vocab_size
    if len(tokenizer) > rows:
        raise LightAdaptError(
            f"The tokenizer has {len(tokenizer)} entries but the model only {rows} embeddings: they do not belong "
            "together, or tokens were added without resizing the embeddings."
        )


def _check_tokenizer_folder(folder: Path) -> None:
    """Raise for a folder without tokenizer files, of which transformers makes an empty tokenizer in silence."""
    if not os.path.isdir(folder):
        return
    files = re.compile(r"tokenizer|vocab|merges|spiece|\.model$|\.tiktoken$|\.bpe")
    if not any(files.search(entry.name) for entry in folder.iterdir()):
        raise LightAdaptError(f"No tokenizer in {folder}: it has none of the files of one. Pass tokenizer=…")


def first_line(error: Exception) -> str:
    """The kind of an error and the first line of what it says."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else 'no reason given'}"
