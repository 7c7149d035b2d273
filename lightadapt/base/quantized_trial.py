"""Whether a form of quantization works here, and a method on it: tried on one layer before weights are loaded."""

from __future__ import annotations

from collections.abc import Collection

import torch
from peft import PeftConfig
from torch import nn

from lightadapt import peft_bridge
from lightadapt.anatomy import Anatomy
from lightadapt.base.quantization import Quantization, check_device, quantized_linears
from lightadapt.base.quantized_modules import quantize_modules
from lightadapt.errors import LightAdaptError
from lightadapt.methods import Method, Plan


def check_quantization(
    anatomy: Anatomy, method: Method, plan: Plan, quantization: Quantization | None, device: torch.device
) -> None:
    """Raise when a method cannot work on quantized weights.

    Args:
        device: where it is tried.

    Raises:
        LightAdaptError: it cannot, with the reason and what does; or the form itself does not work here.
    """
    if quantization is None:
        return
    check_device(quantization, device)
    quantized = quantized_linears(anatomy, quantization)
    problem = _problem_on(None, anatomy, quantized, quantization, device)
    if problem:
        usual = quantization == Quantization.named(quantization.name)
        raise LightAdaptError(
            f"quantize: {quantization} does not work on {device} with the versions installed here ({problem}). "
            + ("Upgrade bitsandbytes, or leave quantize out." if usual else f"Try quantize={quantization.name!r}.")
        )
    way_out = "Use method='lora' or 'bottleneck', or leave quantize out."
    if method.rewrites_base or plan.unfrozen & {f"{path}.weight" for path in quantized}:
        raise LightAdaptError(
            f"Method {method} changes the weights themselves, which {quantization.name} weights cannot take. {way_out}"
        )
    targets = peft_bridge.targets_of(plan.config) & set(quantized) if plan.config is not None else set()
    problem = _problem_on(plan.config, anatomy, targets, quantization, device) if targets else ""
    if problem:
        other = Quantization.named("8bit" if quantization.name == "4bit" else "4bit")
        if not _problem_on(plan.config, anatomy, targets, other, device):
            way_out = f"Try quantize={other.name!r}; or: {way_out[0].lower()}{way_out[1:]}"
        raise LightAdaptError(
            f"Method {method} does not work on {quantization.name} weights with the versions installed here "
            f"({problem}). {way_out}"
        )


def _problem_on(
    config: PeftConfig | None,
    anatomy: Anatomy,
    linears: Collection[str],
    quantization: Quantization,
    device: torch.device,
) -> str:
    """What goes wrong with an adapter, or with none, on a quantized layer of the size of the smallest of `linears`."""
    smallest = min(sorted(linears), key=lambda path: sum(anatomy.linears[path]))

    def prepare(holder: nn.Module) -> None:
        quantize_modules(holder, ["layer"], quantization, torch.float32)

    return peft_bridge.try_on(config, anatomy.linears[smallest], device, prepare)
