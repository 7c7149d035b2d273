"""LoRA's forward and backward with fewer kernels than PEFT's, the same values, and no copies of the input.

A is `(rank, in)` and B `(out, rank)`. How a thin product is written decides how fast it is computed: with the rank as
the number of rows, as it is everywhere here, the gradient of B takes a fifth of the time that autograd's own order of
factors takes (`benchmarks/steps.py` has whole steps). Nor are there the copies of the input in float32 that PEFT's
forward makes of bfloat16 and keeps: the input itself is kept, which the model has anyway.

PEFT's layers stay what is stored, saved, merged and switched. Only their `forward` is another one.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners import lora
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributed.tensor import DTensor
from transformers.pytorch_utils import Conv1D

from lightadapt.machine.products import linear, times
from lightadapt.peft_bridge.active import active_in

FEW_ROWS = 48
"""Tokens up to which thin products in 16 bits take a CPU longer to set up than they take in float32, casts included."""


class LeanLinear(lora.Linear):
    """PEFT's LoRA on a linear layer, with a forward of its own wherever it would give the same."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """W x + bias + scaling · B A x: `(…, in)` to `(…, out)`."""
        base = self._modules["base_layer"]
        assert base is not None
        name = lean_adapter(self, x, args, kwargs)
        if name is None:
            folded = self.merged_adapters and not (self._disable_adapters or torch.is_grad_enabled())
            return product_of(base, x) if folded else super().forward(x, *args, **kwargs)
        if not _is_plain(base):
            return add_update(self, base(x), x, name)
        weight, bias = _weights_of(base)
        a, b = (_of(self, each, name)._parameters["weight"] for each in ("lora_A", "lora_B"))
        if x.dtype != torch.float32 and x.device.type == "cpu" and not torch.is_grad_enabled() and _are_few(x):
            return _in_float32(x, weight, bias, a, b, self.scaling[name])
        rows = x.reshape(-1, x.shape[-1])
        if torch.is_grad_enabled():
            result: Tensor = _LoraLinear.apply(rows, weight, bias, a, b, self.scaling[name])  # type: ignore[no-untyped-call]
        else:  # the same products; what autograd would note of them takes as long as those of a short text
            result = _update_linear(rows, weight, bias, a, b, self.scaling[name])[0]
        return result.view(*x.shape[:-1], weight.shape[0])


def make_lean(layer: Any) -> None:
    """Give a LoRA layer of PEFT the leaner forward, if it is one that has it."""
    if type(layer) is lora.Linear:
        layer.__class__ = LeanLinear
    elif type(layer).__module__ == "peft.tuners.lora.bnb":
        from lightadapt.peft_bridge.lean_quantized import LEAN  # needs bitsandbytes

        layer.__class__ = LEAN[type(layer)]


def lean_adapter(layer: Any, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """The one adapter that the layer applies, when what it does is the plain formula; None: PEFT knows what else."""
    if x.dtype == torch.float16:  # B is small, and B' times a small gradient is 0 in this format; PEFT uses float32
        return None
    active = active_in(layer)
    if args or kwargs or len(active) != 1 or _autocasts(x.device.type):
        return None
    name = active[0]
    if layer.training and name in layer.lora_dropout and not isinstance(layer.lora_dropout[name], nn.Identity):
        return None
    return name if is_lean(layer, name) else None


def is_lean(layer: Any, name: str) -> bool:
    """Whether what the layer does with an adapter is the plain formula, dropout aside."""
    a, b = _of(layer, "lora_A", name), _of(layer, "lora_B", name)
    if type(a) is not nn.Linear or type(b) is not nn.Linear or name in layer.lora_variant:
        return False
    plain = b._parameters["bias"] is None and not (_has_hooks(a) or _has_hooks(b))
    return plain and not isinstance(a._parameters["weight"], DTensor)  # a shard is gathered by its module's call


def _of(layer: Any, attribute: str, name: str) -> Any:
    """What a layer holds for an adapter, past torch's search for attributes, which costs as much as a thin product."""
    return layer._modules[attribute]._modules.get(name)


def product_of(base: nn.Module, x: Tensor) -> Tensor:
    """What a layer with frozen weights gives, without gradients."""
    return linear(x, *_weights_of(base)) if _is_plain(base) else base(x)


def _weights_of(base: Any) -> tuple[Tensor, Tensor | None]:
    """The weight `(out, in)` and the bias of a plain layer."""
    weight, bias = base._parameters["weight"], base._parameters["bias"]
    return (weight.t() if type(base) is Conv1D else weight), bias


def _is_plain(base: Any) -> bool:
    """Whether calling this layer is no more than a product with frozen weights."""
    if type(base) not in (nn.Linear, Conv1D) or _has_hooks(base):
        return False
    weight, bias = base._parameters["weight"], base._parameters["bias"]
    return not (isinstance(weight, DTensor) or weight.requires_grad) and (bias is None or not bias.requires_grad)


def _autocasts(device: str) -> bool:
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def _has_hooks(module: nn.Module) -> bool:
    """Whether calling this module does more than its class says; accelerate hangs a forward of its own on it."""
    hooks = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
    return bool(hooks) or "forward" in vars(module)


def add_update(layer: Any, base: Tensor, x: Tensor, name: str) -> Tensor:
    """What the base layer gave, `(…, out)`, with the update of its input `(…, in)` added."""
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    rows, wide = x.reshape(-1, x.shape[-1]), base.reshape(-1, base.shape[-1])
    return _LoraUpdate.apply(wide, rows, a, b, layer.scaling[name]).view(base.shape)  # type: ignore[no-any-return, no-untyped-call]


class _LoraLinear(torch.autograd.Function):
    """x W' + bias + scaling · x A' B', `(N, in)` to `(N, out)`; W is frozen."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scaling: float
    ) -> Tensor:
        result, narrow = _update_linear(x, weight, bias, a, b, scaling)
        ctx.save_for_backward(x, narrow, a, b, weight)
        ctx.scaling = scaling
        return result

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        x, narrow, a, b, weight = ctx.saved_tensors
        back, of_a, of_b = _gradients(gradient, x, narrow, a, b, ctx.scaling)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = times(gradient, weight).addmm_(back.t(), a.to(x.dtype), alpha=ctx.scaling)
        return of_x, None, None, of_a, of_b, None


def _are_few(x: Tensor) -> bool:
    return x.numel() <= FEW_ROWS * x.shape[-1]


def _in_float32(x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scaling: float) -> Tensor:
    """The same, `(…, in)` to `(…, out)`, with the update in float32, as PEFT computes it."""
    thin = nn.functional.linear
    return linear(x, weight, bias).add_(thin(thin(x.float(), a), b), alpha=scaling)


def _update_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scaling: float
) -> tuple[Tensor, Tensor]:
    """What the layer gives, x W' + bias + scaling · x A' B', `(N, out)`, and A x', `(rank, N)`."""
    narrow = linear(a.to(x.dtype), x)
    return linear(x, weight, bias).addmm_(narrow.t(), b.to(x.dtype).t(), alpha=scaling), narrow


class _LoraUpdate(torch.autograd.Function):
    """base + scaling · x A' B', `(N, out)`, for whatever a base layer made of x `(N, in)`."""

    @staticmethod
    def forward(ctx: Any, base: Tensor, x: Tensor, a: Tensor, b: Tensor, scaling: float) -> Tensor:
        narrow = linear(a.to(x.dtype), x)  # (rank, N)
        ctx.save_for_backward(x, narrow, a, b)
        ctx.scaling = scaling
        return torch.addmm(base, narrow.t().to(base.dtype), b.to(base.dtype).t(), alpha=scaling)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, Tensor, Tensor, None]:
        x, narrow, a, b = ctx.saved_tensors
        back, of_a, of_b = _gradients(gradient.to(x.dtype), x, narrow, a, b, ctx.scaling)
        of_x = back.t() @ a.to(x.dtype) * ctx.scaling if ctx.needs_input_grad[1] else None
        return gradient, of_x, of_a, of_b, None


def _gradients(
    gradient: Tensor, x: Tensor, narrow: Tensor, a: Tensor, b: Tensor, scaling: float
) -> tuple[Tensor, Tensor, Tensor]:
    """B' gradient' `(rank, N)`, and the gradients of A `(rank, in)` and B `(out, rank)`."""
    back = b.to(gradient.dtype).t() @ gradient.t()
    of_a = times(back, x).to(a.dtype).mul_(scaling)
    of_b = times(narrow, gradient).to(b.dtype).mul_(scaling).t()
    return back, of_a, of_b
