"""From a class and a config to the anatomy, without a weight."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection
from dataclasses import replace
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoModel, PretrainedConfig, PreTrainedModel

from lightadapt.anatomy.auto_classes import is_mapped
from lightadapt.anatomy.dry_run import DryRun, dry_run
from lightadapt.anatomy.parts import Anatomy, Family
from lightadapt.anatomy.structure import describe
from lightadapt.errors import LightAdaptError
from lightadapt.machine.quiet import quiet

MOST_KEPT = 64
"""Anatomies, and dry runs, that are remembered."""
_ANATOMIES: dict[tuple[Any, ...], Anatomy] = {}
_DRY_RUNS: dict[tuple[Any, ...], DryRun] = {}
_NAMES = ("id2label", "label2id", "problem_type", "_name_or_path", "architectures", "transformers_version", "dtype")
"""Entries of a config that change nothing in a model without values."""


class UnbuildableError(LightAdaptError):
    """A class that a config alone does not make."""


def read_anatomy(model_class: type[PreTrainedModel], config: PretrainedConfig) -> Anatomy:
    """The anatomy of what `model_class(config)` would be; the model is built on the meta device only.

    It is read once for a class and a config, and its dry run once for all numbers of labels.

    Raises:
        LightAdaptError: nothing to adapt was found, or backbone and head cannot be told apart.
    """
    key = _key(model_class, config)
    if key not in _ANATOMIES:
        _keep(_ANATOMIES, key, _read_anatomy(model_class, config))
    return _ANATOMIES[key]


def _key(model_class: type[PreTrainedModel], config: PretrainedConfig, **instead: Any) -> tuple[Any, ...]:
    """What tells models of the meta device apart: the class, and all of the config but what outputs are called."""
    content = {name: value for name, value in config.to_dict().items() if name not in _NAMES}
    content = {**content, "num_labels": config.num_labels, **instead}
    return model_class, json.dumps(content, sort_keys=True, default=repr)


def _keep(known: dict[tuple[Any, ...], Any], key: tuple[Any, ...], value: Any) -> None:
    """Remember a value; of too many, the oldest is forgotten."""
    known[key] = value
    while len(known) > MOST_KEPT:
        del known[next(iter(known))]


def _dry_run(model_class: type[PreTrainedModel], config: PretrainedConfig, model: PreTrainedModel) -> DryRun:
    # Heads with one output may take another way than those with several; how many those are changes no way.
    key = _key(model_class, config, num_labels=min(2, config.num_labels))
    if key not in _DRY_RUNS:
        _keep(_DRY_RUNS, key, dry_run(model))
    return _DRY_RUNS[key]


def _read_anatomy(model_class: type[PreTrainedModel], config: PretrainedConfig) -> Anatomy:
    try:
        with torch.device("meta"), quiet():
            model = model_class(copy.deepcopy(config))
    except Exception as error:  # whatever a class makes of a config that does not fit
        raise UnbuildableError(
            f"{model_class.__name__} cannot be built from its config ({type(error).__name__}: {error})."
        ) from error
    backbone = backbone_names(model)
    positions = positions_of(model)  # before the dry run, which uses the model up
    run = _dry_run(model_class, config, model)
    return _checked(describe(model, backbone, run, causal=family_of(config) == "decoder"), model, positions)


def read_instance(model: PreTrainedModel) -> Anatomy:
    """The anatomy of a model that is there already."""
    packed = {  # a quantized weight has the shape of its bytes
        f"{path}.weight"
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and module.weight.shape != (module.out_features, module.in_features)
    }
    shapes = {
        name: None if name in packed else tuple(parameter.shape)
        for name, parameter in model.named_parameters()
        if parameter.dtype != torch.int8  # LLM.int8's, whose order may be another than the config says
    }
    try:
        anatomy: Anatomy | None = read_anatomy(type(model), model.config)
    except UnbuildableError:  # a class of the user's own may need more than a config
        anatomy = None
    if anatomy is not None and all(
        shape is None or shape == anatomy.parameters.get(name)
        for name, shape in {**anatomy.parameters, **shapes}.items()
    ):
        return anatomy
    causal = family_of(model.config) == "decoder"
    return _checked(describe(model, backbone_names(model), causal=causal), model, positions_of(model))


def family_of(config: PretrainedConfig) -> Family:
    """How an architecture reads: a decoder is one that transformers has as a causal language model, and as no other."""
    if config.is_encoder_decoder:
        return "encoder-decoder"
    causal = is_mapped("AutoModelForCausalLM", config)
    masked = is_mapped("AutoModelForMaskedLM", config)
    reads_on = (causal and not masked) or bool(getattr(config, "is_decoder", False))
    return "decoder" if reads_on else "encoder"


def positions_of(model: PreTrainedModel) -> int | None:
    """The tokens that the positions of a model allow; None where it counts none.

    Position tables with a padding row (RoBERTa's) number tokens from behind that row, so they hold fewer tokens than
    rows.
    """
    config = model.config.get_text_config()
    rows = getattr(config, "max_position_embeddings", None)
    if not isinstance(rows, int) or rows <= 0:
        return None
    unused = [
        module.padding_idx + 1
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        and module.padding_idx is not None
        and module.num_embeddings == rows != config.vocab_size
    ]
    return rows - max(unused, default=0)


def _checked(anatomy: Anatomy, model: nn.Module, positions: int | None) -> Anatomy:
    if not anatomy.blocks:
        raise LightAdaptError(
            f"No repeated blocks with linear projections were found in {type(model).__name__} that a gradient reaches "
            "through frozen embeddings, so there is nowhere to adapt. If it is a transformer, please report its config."
        )
    return replace(anatomy, positions=positions)


def backbone_names(model: PreTrainedModel) -> Collection[str]:
    """The parameter names of the bare model of this architecture.

    `base_model_prefix` is wrong for several classes (T5, BART with question answering), so the bare model itself
    is asked; only architectures unknown to AutoModel fall back on the prefix.
    """
    if is_mapped("AutoModel", model.config):
        config = copy.deepcopy(model.config)
        config.architectures = config.architectures or []  # AutoModel reads a list where an architecture has two models
        with torch.device("meta"), quiet():
            bare: nn.Module = AutoModel.from_config(config)
    else:
        bare = model.base_model
        output = cast("nn.Module | None", model.get_output_embeddings()) if bare is model else None  # type: ignore[operator]
        if output is not None:  # a language model whose parts lie beside its output layer
            own = {id(parameter) for parameter in nn.Module.parameters(output)}
            return {name for name, parameter in model.named_parameters() if id(parameter) not in own}
        if bare is model:
            raise LightAdaptError(
                f"{type(model).__name__} does not tell its backbone from its head: AutoModel does not know its config, "
                f"and its base_model_prefix {model.base_model_prefix!r} names no attribute. Set base_model_prefix."
            )
    return {name for name, _ in bare.named_parameters()}
