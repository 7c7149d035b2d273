"""Attention in bfloat16 whose softmax is computed in float32: more exact, and on a CPU the faster one.

torch's softmax in bfloat16 has no vector code for rows that do not fill a register, and takes two to three times as
long as one in float32 with a cast before it and one behind it. The backward pass is likewise, and all that is kept for
it are the probabilities in bfloat16.

It is told to transformers as one more attention function, for models that leave the choice to them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "lightadapt_float_softmax"


def suits(model: PreTrainedModel) -> bool:
    """Whether the model's attention is the plain formula, as its class says that allows the fused kernel."""
    parts = {type(module).__module__ for module in model.modules() if isinstance(module, PreTrainedModel)}
    functions = [getattr(sys.modules[name], "ALL_ATTENTION_FUNCTIONS", ALL_ATTENTION_FUNCTIONS) for name in parts]
    return model.config._attn_implementation == "sdpa" and all(each is ALL_ATTENTION_FUNCTIONS for each in functions)


def take_back(model: PreTrainedModel) -> None:
    """Give a model that leaves this library the kernel that transformers had chosen for it."""
    if model.config._attn_implementation == NAME:
        model.set_attn_implementation("sdpa")


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """softmax(scaling · Q K' + mask) V `(B, T, heads, width)`, and the probabilities `(B, heads, T, S)`.

    Args:
        query: `(B, heads, T, width)`.
        key: `(B, heads, S, width)`, or fewer heads, each of which serves several of the query's; so `value`.
        attention_mask: what is added to the scores, `(B, 1, T, S)`.
    """
    other = any(options.get(name) is not None for name in ("softcap", "position_bias", "s_aux", "cache"))
    if query.dtype != torch.bfloat16 or (dropout and module.training) or other or torch.compiler.is_compiling():
        return _original(module)(  # type: ignore[no-any-return]
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **options
        )
    if (several := query.shape[1] // key.shape[1]) > 1:
        key, value = key.repeat_interleave(several, 1), value.repeat_interleave(several, 1)
    factor = query.shape[-1] ** -0.5 if scaling is None else scaling
    mask = None if attention_mask is None else attention_mask[..., : key.shape[2]]
    if torch.is_grad_enabled():
        found, probabilities = _Attention.apply(query, key, value, mask, factor)  # type: ignore[no-untyped-call]
    else:
        probabilities = _probabilities(query, key, mask, factor)
        found = torch.matmul(probabilities, value)
    return found.transpose(1, 2).contiguous(), probabilities


def _original(module: nn.Module) -> Callable[..., Any]:
    """The plain attention function of the model that a module belongs to."""
    plain = vars(sys.modules[type(module).__module__]).get("eager_attention_forward")
    return plain or ALL_ATTENTION_FUNCTIONS["sdpa"]  # type: ignore[no-any-return]


def _probabilities(query: Tensor, key: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
    scores = torch.matmul(query, key.transpose(2, 3)).float().mul_(scaling)
    if mask is not None:
        scores += mask
    return torch.softmax(scores, dim=-1).to(query.dtype)


class _Attention(torch.autograd.Function):
    """softmax(scaling · Q K' + mask) V, and the probabilities, through which no gradient flows."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float
    ) -> tuple[Tensor, Tensor]:
        probabilities = _probabilities(query, key, mask, scaling)
        ctx.save_for_backward(query, key, value, probabilities)
        ctx.mark_non_differentiable(probabilities)
        ctx.scaling = scaling
        return torch.matmul(probabilities, value), probabilities

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, probabilities = ctx.saved_tensors
        of_value = torch.matmul(probabilities.transpose(2, 3), gradient)
        of_probabilities = torch.matmul(gradient, value.transpose(2, 3)).float()
        of_scores = torch._softmax_backward_data(of_probabilities, probabilities.float(), -1, torch.float32)
        of_scores = of_scores.mul_(ctx.scaling).to(query.dtype)
        of_key = torch.matmul(of_scores.transpose(2, 3), query)
        return torch.matmul(of_scores, key), of_key, of_value, None, None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, eager_mask)
