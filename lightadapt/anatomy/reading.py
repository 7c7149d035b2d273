"""From a class and a config to the anatomy, without a weight."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import cast

import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, PretrainedConfig, PreTrainedModel

from lightadapt.anatomy.dry_run import dry_run
from lightadapt.anatomy.parts import Anatomy, Family
from lightadapt.anatomy.structure import describe
from lightadapt.errors import LightAdaptError
from lightadapt.machine.quiet import quiet


class UnbuildableError(LightAdaptError):
    """A class that a config alone does not make."""


def read_anatomy(model_class: type[PreTrainedModel], config: PretrainedConfig) -> Anatomy:
    """The anatomy of what `model_class(config)` would be; the model is built on the meta device only.

    Raises:
        LightAdaptError: nothing to adapt was found, or backbone and head cannot be told apart.
    """
    try:
        with torch.device("meta"), quiet():
            model = model_class(copy.deepcopy(config))
    except Exception as error:  # whatever a class makes of a config that does not fit
        raise UnbuildableError(
            f"{model_class.__name__} cannot be built from its config ({type(error).__name__}: {error})."
        ) from error
    backbone = backbone_names(model)
    return _checked(describe(model, backbone, dry_run(model), causal=family_of(config) == "decoder"), model)


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
    return _checked(describe(model, backbone_names(model), causal=family_of(model.config) == "decoder"), model)


def family_of(config: PretrainedConfig) -> Family:
    """How an architecture reads: a decoder is one that transformers has as a causal language model, and as no other."""
    if config.is_encoder_decoder:
        return "encoder-decoder"
    causal = type(config) in AutoModelForCausalLM._model_mapping
    masked = type(config) in AutoModelForMaskedLM._model_mapping
    reads_on = (causal and not masked) or bool(getattr(config, "is_decoder", False))
    return "decoder" if reads_on else "encoder"


def _checked(anatomy: Anatomy, model: nn.Module) -> Anatomy:
    if not anatomy.blocks:
        raise LightAdaptError(
            f"No repeated blocks with linear projections were found in {type(model).__name__} that a gradient reaches "
            "through frozen embeddings, so there is nowhere to adapt. If it is a transformer, please report its config."
        )
    return anatomy


def backbone_names(model: PreTrainedModel) -> Collection[str]:
    """The parameter names of the bare model of this architecture.

    `base_model_prefix` is wrong for several classes (T5, BART with question answering), so the bare model itself
    is asked; only architectures unknown to AutoModel fall back on the prefix.
    """
    if type(model.config) in AutoModel._model_mapping:
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
