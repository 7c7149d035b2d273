"""The adapter folded into the weights, and how far what that gives is from what the adapted model gives."""

from __future__ import annotations

from copy import copy, deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lightadapt import peft_bridge
from lightadapt.adaptation.adaptation import Adaptation
from lightadapt.adaptation.assembly import build
from lightadapt.adaptation.runner import Runner
from lightadapt.base.blueprint import Blueprint, make_blueprint
from lightadapt.base.float_softmax import take_back
from lightadapt.base.four_bits import computed_alone, keep_trainable
from lightadapt.base.quantization import Quantization, quantization_of
from lightadapt.base.quantized_modules import dequantize_modules, dequantized, is_quantized
from lightadapt.errors import LightAdaptError, nearest, warn
from lightadapt.export.proof import outputs_of
from lightadapt.heads.outputs import fold_output_scales
from lightadapt.machine.hardware import choose_dtype
from lightadapt.numbers import check_number

BASES = ("reload", "dequantize", "quantized")


def merge(runner: Runner, *, base: str, dtype: Any, max_drift: float) -> PreTrainedModel:
    """A plain model with the adapter folded in; see `Adapted.merge`."""
    if base not in BASES:
        raise LightAdaptError(f"merge(base={base!r}) is unknown. {nearest(str(base), BASES)}Known: {', '.join(BASES)}.")
    check_number("max_drift", max_drift, owner="merge", least=0, wanted="a number of at least 0, such as 0.25")
    adaptation, quantization = runner.adaptation, runner.adaptation.design.quantization
    in_place = quantization is None or base == "quantized"
    if in_place and quantization is not None and dtype != "auto":
        raise LightAdaptError(
            f"merge(base='quantized', dtype={dtype!r}): a quantized model keeps its number formats. Leave dtype "
            "out, or fold into plain weights with base='dequantize'."
        )
    chosen = None if dtype == "auto" else choose_dtype(dtype, adaptation.model.device, trains_base=False)
    if chosen is None and runner.task.output_scale is not None and base != "quantized":
        chosen = torch.float32  # the mean of the labels goes into the head, and 16 bits round it to three digits
    try:
        adaptation.adapter.check_foldable(onto_these=in_place)
        given = runner if in_place else on_plain_base(runner, base, chosen or torch.bfloat16)
        model = deepcopy(given.model) if in_place else given.model
        if in_place and chosen == torch.float32:
            model.float()  # before the adapter is added, which 16 bits would round
        peft_bridge.Adapter(model, adaptation.name).fold()
    except NotImplementedError as error:
        if in_place and quantization and _folds_into_plain(adaptation):
            way_out = "Write merge(base='reload') or merge(base='dequantize')."
            raise _no_folding(adaptation, error, f"{quantization.name} weights", way_out) from error
        raise _no_folding(adaptation, error) from error
    fold_output_scales(model)
    take_back(model)
    if in_place and quantization is not None:
        _leave_computable(model, quantization, adaptation.design.dtype)
        _describe_packed(model, quantization, adaptation)
    if in_place and chosen is not None:
        model.to(chosen)  # type: ignore[arg-type]
    if chosen is not None:
        model.config.dtype = chosen
    if quantization is not None:
        _check_drift(runner, model.eval(), base, max_drift)
    return model


def check_plain(runner: Runner) -> None:
    """Raise where the merged model would be of no class of transformers.

    Raises:
        LightAdaptError: its head is read in another way than theirs.
    """
    if runner.adaptation.head.prototypes is not None:
        raise LightAdaptError(
            "merge(): the rows of this head are prototypes (recipe='few-shot'), which no class of transformers reads "
            "so. Ship the artifact, export to 'onnx', or train with fit(…, recipe='standard')."
        )


def check_learned(runner: Runner, call: str, place: str, other: str = "") -> None:
    """Raise where the head that leaves would be a random one, whether or not labels can be told by their names.

    Args:
        call: what was asked for.
        place: where the head would be.
        other: what else than training there is, as the end of a sentence.

    Raises:
        LightAdaptError: it has learned nothing.
    """
    if runner.adaptation.head.is_untouched:
        raise LightAdaptError(
            f"{call}: nothing has been learned yet, so the head {place} would be a random one. Train it with fit(…) "
            f"first{other}."
        )


def check_folds(runner: Runner) -> None:
    """Raise for an adapter that is no change of weights, before anything is loaded or written.

    Raises:
        LightAdaptError: it is none.
    """
    try:
        runner.adaptation.adapter.check_foldable(onto_these=False)
    except NotImplementedError as error:
        raise _no_folding(runner.adaptation, error) from error


def _no_folding(
    adaptation: Adaptation,
    error: NotImplementedError,
    onto: str = "the weights",
    way_out: str = "Ship the artifact instead.",
) -> LightAdaptError:
    name, reason = adaptation.design.method.name, str(error) or "PEFT does not have it"
    return LightAdaptError(f"Method {name!r} cannot be folded into {onto} ({reason}). {way_out}")


def _leave_computable(model: PreTrainedModel, quantization: Quantization, dtype: torch.dtype) -> None:
    """Leave quantized what bitsandbytes computes rightly by itself on this processor, and make the rest plain.

    This library looks after the layers of its own models; whoever reads this one from its files does not.
    """
    if quantization.name == "4bit":
        keep_trainable(model)  # folding quantized anew
        packed = [(path, module) for path, module in model.named_modules() if is_quantized(module)]
        dequantize_modules(model, [path for path, module in packed if not computed_alone(module)], dtype)


def _describe_packed(model: PreTrainedModel, quantization: Quantization, adaptation: Adaptation) -> None:
    """Say in the model's config what is quantized, so that what `save_pretrained` writes can be read.

    transformers does so of what it quantized itself, which a model given as an instance is not.
    """
    linears = adaptation.design.blueprint.anatomy.linears
    kept = [path for path in linears if not is_quantized(model.get_submodule(path))]
    if len(kept) < len(linears):
        model.config.quantization_config = quantization.config(kept, adaptation.design.dtype)
        return
    for mark in ("hf_quantizer", "quantization_method", "is_quantized", f"is_loaded_in_{quantization.name}"):
        model.__dict__.pop(mark, None)
    model.config.__dict__.pop("quantization_config", None)


def _folds_into_plain(adaptation: Adaptation) -> bool:
    """Whether the adapter is a change of weights at all, as far as that can be told without others."""
    try:
        adaptation.adapter.check_foldable(onto_these=False)
    except NotImplementedError:
        return False
    return True


def on_plain_base(runner: Runner, base: str, dtype: torch.dtype) -> Runner:
    """The same adaptation on a base that is not quantized."""
    adaptation = runner.adaptation
    blueprint = _reloaded(runner) if base == "reload" else _dequantized(runner, dtype)
    design = replace(adaptation.design, blueprint=blueprint, quantization=None, dtype=dtype, device=runner.model.device)
    plain = build(replace(design, head=adaptation.base.head), runner.task, runner.tokenizer, name=adaptation.name)
    for parameter in plain.model.parameters():  # of an instance it may be the very tensor, which is to stay as it is
        parameter.data = parameter.data.clone()
    plain.adaptation.restore(adaptation.tensors(), Path("merge"))
    return plain


def _reloaded(runner: Runner) -> Blueprint:
    blueprint = runner.adaptation.design.blueprint
    if blueprint.ready is not None or quantization_of(blueprint.source.config) is not None:
        raise LightAdaptError(
            f"merge(): the weights of {blueprint.source.name} before they were quantized are not there to be loaded "
            "again. Write merge(base='dequantize') to fold into the values that the quantized weights stand for."
        )
    return make_blueprint(blueprint.source, runner.task, runner.outputs)


def _dequantized(runner: Runner, dtype: torch.dtype) -> Blueprint:
    """The base as the values that its quantized weights stand for, which are those that the adapter was trained on."""
    source = runner.adaptation.design.blueprint.source
    config = copy(source.config)
    config.__dict__.pop("quantization_config", None)
    quantized = {
        peft_bridge.original_name(path): module for path, module in runner.model.named_modules() if is_quantized(module)
    }
    state = {
        name: tensor
        for name, tensor in peft_bridge.base_tensors(runner.model).items()
        if name.endswith(".bias") or not name.startswith(tuple(f"{path}." for path in quantized))
    }
    for path, module in quantized.items():
        weight = dequantized(module).to(dtype)
        state[f"{path}.weight"] = weight.T if getattr(module, "source_cls", None) is Conv1D else weight
    plain = replace(source, config=config, instance=None, state_dict=state)
    return make_blueprint(plain, runner.task, runner.outputs)


def _check_drift(runner: Runner, merged: PreTrainedModel, base: str, max_drift: float) -> None:
    """Raise when the merged model gives other outputs than the adapted one; say how much when it stays quantized."""
    apart = drift(runner, merged)
    quantization = runner.adaptation.design.quantization
    assert quantization is not None
    if not apart <= max_drift:
        others = {"reload": "base='dequantize'", "quantized": "base='reload'"}.get(base, "dtype='float32'")
        raise LightAdaptError(
            f"merge(base={base!r}): the outputs of the merged model are {apart:.1%} away from those of the adapted "
            f"one, more than max_drift={max_drift:g}. Try {others}, allow more, or ship the artifact."
        )
    if base == "quantized":
        warn(
            f"The adapter was folded into {quantization.name} weights, whose rounding took part of it away: on a probe "
            f"batch the outputs moved by {apart:.1%}. merge(base='dequantize') keeps all of it, in 16 bits.",
        )


def drift(runner: Runner, other: PreTrainedModel) -> float:
    """How far the outputs of another model are from those of an adaptation: |other - ours| / |ours|, Euclidean norms.

    The batch is the task's own two samples; padding does not count.
    """
    task = runner.task
    examples = task.parse(task.read(task.samples(), columns={}))
    batch = runner.collate(runner.encode(examples, targets=True))
    ours, theirs = (outputs_of(model, batch) for model in (runner.model, other))
    mean = 0.0 if task.output_scale is None else task.output_scale[0]  # however large, it says nothing of the weights
    difference = sum(float((one - two).square().sum()) for one, two in zip(theirs, ours, strict=True))
    return float((difference / sum(float((one - mean).square().sum()) for one in ours)) ** 0.5)
