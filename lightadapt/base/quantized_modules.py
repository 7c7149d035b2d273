"""Linear modules with quantized weights: made of plain ones, made plain again, and what they weigh."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from lightadapt.base.four_bits import keep_trainable

if TYPE_CHECKING:
    from lightadapt.base.quantization import Quantization


def quantize_modules(model: nn.Module, paths: Iterable[str], quantization: Quantization, dtype: torch.dtype) -> None:
    """Replace linear modules of a model by quantized ones, in place and on their devices.

    Args:
        dtype: of the other weights.
    """
    import bitsandbytes as bnb

    config = quantization.config((), dtype)
    for path in paths:
        old: Any = model.get_submodule(path)
        weight = old.weight.detach()
        weight = weight.T if isinstance(old, Conv1D) else weight
        rows, columns = weight.shape
        new: Any
        if quantization.name == "4bit":
            new = bnb.nn.Linear4bit(columns, rows, False, config.bnb_4bit_compute_dtype, device="meta")
            packed = bnb.nn.Params4bit(
                weight.contiguous(),
                compress_statistics=config.bnb_4bit_use_double_quant,
                quant_type=config.bnb_4bit_quant_type,
                quant_storage=config.bnb_4bit_quant_storage,
                module=new,
            )
        else:
            new = bnb.nn.Linear8bitLt(
                columns, rows, False, has_fp16_weights=False, threshold=config.llm_int8_threshold, device="meta"
            )
            packed = bnb.nn.Int8Params(weight.cpu().contiguous(), requires_grad=False)  # it quantizes on its way
        new.weight, new.bias = packed.to(weight.device), old.bias
        new.source_cls = type(old)  # transformers asks for it when it dequantizes
        model.set_submodule(path, new.train(old.training).requires_grad_(False))
    mark_quantized(model, quantization)


def dequantize_modules(model: nn.Module, paths: Iterable[str], dtype: torch.dtype = torch.float32) -> None:
    """Replace quantized linear modules of a model by plain ones of this format, in place; others stay as they are."""
    for path in paths:
        old: Any = model.get_submodule(path)
        if not is_quantized(old):
            continue
        weight = dequantized(old).to(dtype)
        new: Any
        if getattr(old, "source_cls", None) is Conv1D:
            kind: Any = Conv1D  # transformers has no types for it
            new, weight = kind(old.out_features, old.in_features), weight.T.contiguous()
        else:
            new = nn.Linear(old.in_features, old.out_features, bias=False, device="meta")
        new.weight, new.bias = nn.Parameter(weight), old.bias
        model.set_submodule(path, new.to(dtype).train(old.training))


def cast_unquantized(model: nn.Module, dtype: torch.dtype) -> None:
    """Give whatever is not quantized in a model this format, in place.

    Of a quantized checkpoint transformers casts the biases and leaves the weights beside them as they were saved.
    """
    packed = {id(module.weight) for module in model.modules() if is_quantized(module)}
    for name, parameter in model.named_parameters():
        if id(parameter) not in packed and parameter.is_floating_point() and not _stays_float32(model, name):
            parameter.data = parameter.data.to(dtype)


def _stays_float32(model: Any, name: str) -> bool:
    """Whether the architecture asks for float32 here, whatever the rest is in (T5's `wo`)."""
    asked = {*(model._keep_in_fp32_modules or ()), *(model._keep_in_fp32_modules_strict or ())}
    return any(each in name.split(".") for each in asked)


def mark_quantized(model: nn.Module, quantization: Quantization) -> None:
    """Let PEFT know that a model is quantized, and keep it fit for training."""
    keep_trainable(model)
    setattr(model, f"is_loaded_in_{quantization.name}", True)


def is_quantized(module: nn.Module) -> bool:
    """Whether a module is a linear one of bitsandbytes with a quantized weight, whatever type holds its bits."""
    if not isinstance(module, nn.Linear) or type(module) is nn.Linear:
        return False
    return getattr(module.weight, "quant_state", None) is not None or module.weight.dtype == torch.int8


def size_of_packed(module: Any) -> tuple[str, int]:
    """The form of a quantized linear module and the bytes of its weight with the scales.

    Tables that all modules share are not counted.
    """
    packed = module.weight.numel() * module.weight.element_size()
    state = getattr(module.weight, "quant_state", None)
    if state is None:
        scales = _row_scales(module)
        return "8bit", packed + scales.numel() * scales.element_size()
    parts = [state.absmax] if state.state2 is None else [state.absmax, state.state2.absmax]
    return "4bit", packed + sum(part.numel() * part.element_size() for part in parts)


def dequantized(module: Any) -> torch.Tensor:
    """The weight `(out, in)` that a quantized linear module stands for."""
    import bitsandbytes as bnb

    if hasattr(module.weight, "quant_state"):
        weight = bnb.functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
    else:
        weight = bnb.functional.int8_vectorwise_dequant(module.weight.data, _row_scales(module))
    assert isinstance(weight, torch.Tensor)
    return weight


def _row_scales(module: Any) -> torch.Tensor:
    """The scales of an LLM.int8 layer, which its first forward pass moves from the weight to its state."""
    scales = module.state.SCB if module.weight.SCB is None else module.weight.SCB
    assert isinstance(scales, torch.Tensor)
    return scales
