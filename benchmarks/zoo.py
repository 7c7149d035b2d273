"""Tiny random models of every text model type that transformers knows, for checks that must hold for all of them.

A configuration is made by rule: start from the default one and shrink what has a size, by the name of the field.
`SPECIAL` in zoo_sizes.py holds the few values the rule cannot guess. The list of types is read from transformers at run
time, so a new release brings its new types by itself:

    for model_type in model_types():
        for task in tasks_of(model_type):
            loss = make_model(model_type, task)(**make_batch(model_type, task)).loss
"""

from __future__ import annotations

import re
from dataclasses import fields
from itertools import chain
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from zoo_sizes import ALSO_NONE, EOS, LABELS, NOT_TRIED, PAD, SIDE_SIZES, SIDES, SIZES, SPECIAL, VOCAB

TASKS: dict[str, str] = {
    "classification": "AutoModelForSequenceClassification",
    "tokens": "AutoModelForTokenClassification",
    "qa": "AutoModelForQuestionAnswering",
    "causal": "AutoModelForCausalLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
}
_LISTS = {
    "classification": "SEQUENCE_CLASSIFICATION",
    "tokens": "TOKEN_CLASSIFICATION",
    "qa": "QUESTION_ANSWERING",
    "causal": "CAUSAL_LM",
    "seq2seq": "SEQ_TO_SEQ_CAUSAL_LM",
}


def _tiny_value(name: str, value: Any) -> Any:
    """The tiny value of a field, None where it keeps its default."""
    if isinstance(value, float) and ("drop" in name or "jitter" in name):
        return 0.0
    if name.endswith("_token_id") and isinstance(value, list):
        value = value[0]
    if name not in ALSO_NONE and (not isinstance(value, int) or isinstance(value, bool) or value == 0):
        return None
    if value == 1 and "_token_" not in name:
        return None
    return next((tiny for pattern, tiny in SIZES if re.fullmatch(pattern, name)), None)


def _tiny_lists(given: dict[str, Any], layers: int, at_least: int) -> dict[str, list[Any]]:
    """The lists with one entry for each layer: one layer of each kind, in the order in which they first appear."""
    kinds: dict[str, list[Any]] = {}
    for name, value in given.items():
        if isinstance(value, (list, tuple)) and len(value) == layers and len(set(map(str, value))) <= 4:
            tiny = [_tiny_value(name.removesuffix("_per_layer"), entry) for entry in value]
            kinds[name] = list(dict.fromkeys(value if None in tiny else tiny))
    count = max([at_least, *map(len, kinds.values())])
    return {name: found + found[-1:] * (count - len(found)) for name, found in kinds.items()}


def _shrink(config_class: type[PreTrainedConfig], special: dict[str, Any], side: bool = False) -> PreTrainedConfig:
    """A tiny configuration of this class, and of the configurations inside it."""
    default = config_class()
    held, renamed = vars(default), config_class.attribute_map
    given = {field.name: held.get(renamed.get(field.name, field.name)) for field in fields(config_class)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, PreTrainedConfig):
            inner = {**SPECIAL.get(value.model_type, {}), **special.get(name, {})}
            values[name] = _shrink(type(value), inner, side=side or name in SIDES)
        elif (tiny := _tiny_value(name, value)) is not None:
            values[name] = SIDE_SIZES.get(tiny, tiny) if side and "_token_" not in name else tiny
    if "kv_lora_rank" in values:  # the latent is expanded to keys of all heads; only a part of each head is rotated
        tied = {"num_key_value_heads": values.get("num_attention_heads"), "head_dim": values["qk_rope_head_dim"]}
        values.update({name: value for name, value in tied.items() if name in given})
    if isinstance(layers := getattr(default, "num_hidden_layers", None), int):
        lists = _tiny_lists(given, layers, special.get("num_hidden_layers", 2))
        if lists and "num_hidden_layers" in given:
            values["num_hidden_layers"] = len(next(iter(lists.values())))
        values.update(lists)
    for name, value in special.items():
        if not isinstance(values.get(name), PreTrainedConfig):
            values[name] = value
    return config_class(**values)


def tiny_config(model_type: str) -> PreTrainedConfig:
    """A configuration of this type with two or three narrow layers, a vocabulary of 211 and no dropout."""
    config = _shrink(CONFIG_MAPPING[model_type], SPECIAL.get(model_type, {}))
    config.num_labels = LABELS
    if config.is_encoder_decoder and getattr(config, "decoder_start_token_id", None) is None:
        config.decoder_start_token_id = EOS
    return config


def _types(task: str) -> dict[str, Any]:
    """Model type -> name of its class, as transformers lists them for this task."""
    return getattr(modeling_auto, f"MODEL_FOR_{_LISTS[task]}_MAPPING_NAMES")


def _is_encoder_decoder(model_type: str) -> bool:
    return bool(getattr(CONFIG_MAPPING[model_type], "is_encoder_decoder", False))


def tasks_of(model_type: str) -> list[str]:
    """The tasks for which this type has a model; encoders and encoder-decoders are no causal language models."""
    if model_type in NOT_TRIED:
        return []
    tasks = [task for task in TASKS if model_type in _types(task)]
    encoder = model_type in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if "causal" in tasks and (encoder or _is_encoder_decoder(model_type)):
        tasks.remove("causal")
    return tasks


def model_types() -> list[str]:
    """All types of the five Auto mappings that read text and can be built here."""
    return sorted(model_type for model_type in {*chain(*map(_types, TASKS))} if tasks_of(model_type))


def model_class(model_type: str, task: str) -> type[PreTrainedModel]:
    """The class that the Auto class of the task uses for this type."""
    found = getattr(transformers, TASKS[task])._model_mapping[CONFIG_MAPPING[model_type]]
    return found[0] if isinstance(found, tuple) else found


def make_model(model_type: str, task: str, seed: int = 0) -> PreTrainedModel:
    """A tiny model with random weights, in float32 and `eval()`, without dropout."""
    config = tiny_config(model_type)
    if task == "qa":
        config.num_labels = 2  # a start and an end
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, TASKS[task]).from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            if not parameter.any():  # where training starts from zero, a trained model is somewhere else
                nn.init.normal_(parameter, std=0.02)
    for module in model.modules():
        if isinstance(module, (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)):
            module.p = 0.0
        for name, value in vars(module).items():
            if isinstance(value, float) and "drop" in name:
                setattr(module, name, 0.0)
    if model_type == "xmod":
        model.set_default_language("en_XX")
    return model.eval()


def make_batch(
    model_type: str, task: str, *, rows: int = 2, length: int = 12, seed: int = 1, padded: bool = True
) -> dict[str, Tensor]:
    """Random ids with labels for the task; every second row ends in three padding tokens when `padded`."""
    if model_type == "reformer":
        length += -length % 4  # whole chunks
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, VOCAB, (rows, length), generator=generator)
    mask = torch.ones_like(ids)
    if padded:
        ids[1::2, -3:], mask[1::2, -3:] = PAD, 0
    last = mask.sum(1) - 1
    if task == "classification" and _is_encoder_decoder(model_type):
        ids[torch.arange(rows), last] = EOS  # the state at the last end-of-sequence token is classified
    if model_type == "longformer" and task == "qa":
        ids[:, [3, 5, 8]] = EOS  # question and text are told apart by three separators
    batch = {"input_ids": ids, "attention_mask": mask}
    if model_type in ("bros", "layoutlm", "layoutlmv3", "lilt"):
        corner = torch.randint(0, 60, (rows, length, 2), generator=generator)
        batch["bbox"] = torch.cat([corner, corner + 8], dim=-1)
    if model_type == "fsmt":  # makes no decoder inputs from the labels
        batch["decoder_input_ids"] = torch.randint(5, VOCAB, (rows, 7), generator=generator)
    if task == "classification":
        batch["labels"] = torch.arange(rows) % LABELS
    elif task == "tokens":
        labels = torch.randint(0, LABELS, (rows, length), generator=generator)
        batch["labels"] = labels.masked_fill(mask == 0, -100)
    elif task == "qa":
        batch["start_positions"] = torch.arange(rows) % 3 + 1
        batch["end_positions"] = torch.arange(rows) % 3 + 3
    elif task == "causal":
        batch["labels"] = ids.masked_fill(mask == 0, -100)
    else:
        batch["labels"] = torch.randint(5, VOCAB, (rows, 7), generator=generator)
    return batch
