"""Attention with learned keys and values in front: what becomes of keys, values and masks, and how it is computed.

Models that call a function with keys and values get them longer. Of models that write attention out, the products and
the softmax are intercepted.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lightadapt.anatomy import attention

if TYPE_CHECKING:
    from lightadapt.tuners.prefix import PrefixLayer


def extend(key: Tensor, value: Tensor, mask: Any, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Any]:
    """Keys and values (batch, heads, tokens, width) with the prefix in front, and a mask that shows it to all."""
    length, tokens = keys.shape[1], key.shape[2]
    if keys.shape[0] > key.shape[1]:  # one head of the keys stands for several here
        key, value = (each.repeat_interleave(keys.shape[0] // each.shape[1], 1) for each in (key, value))
    elif keys.shape[0] < key.shape[1]:  # the model has repeated its shared heads already
        keys, values = (each.repeat_interleave(key.shape[1] // each.shape[0], 0) for each in (keys, values))
    keys, values = (each.expand(key.shape[0], -1, -1, -1) for each in (keys.to(key.dtype), values.to(value.dtype)))
    if torch.is_tensor(mask):
        if mask.dim() == 2:  # flash attention's mask of padding
            mask = widen(mask, length, 1)
        else:
            mask = widen(mask[..., :tokens], length, True if mask.dtype == torch.bool else 0)
    elif mask is not None:
        mask = _widen_block_mask(mask, length)
    return torch.cat([keys, key], 2), torch.cat([values, value], 2), mask


def widen(mask: Tensor, length: int, value: float) -> Tensor:
    """A mask or bias with so many more keys in front, all of this value."""
    return torch.cat([mask.new_full((*mask.shape[:-1], length), value), mask], -1)


def causal_mask(query: Tensor) -> Tensor:
    """Which tokens a token may see, (1, 1, tokens, tokens): itself and those before it."""
    tokens = query.shape[2]
    return torch.ones(1, 1, tokens, tokens, dtype=torch.bool, device=query.device).tril()


def _widen_block_mask(mask: Any, length: int) -> Any:
    """flex_attention's mask, whose rule is a function of the positions of query and key."""
    from torch.nn.attention.flex_attention import create_block_mask

    def rule(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return (key < length) | mask.mask_mod(batch, head, query, (key - length).clamp(min=0))

    queries, keys = mask.seq_lengths
    return create_block_mask(rule, mask.shape[0], None, queries, keys + length, device=mask.kv_num_blocks.device)


class Interception(TorchFunctionMode):
    """Adds the prefix to attention that calls torch's functions itself.

    Either `scaled_dot_product_attention`, or a product, a softmax and a product: of these the prefix has its own, and
    only the softmax is common. Scores are divided by the root of the width, as such models do.
    """

    def __init__(self, layer: PrefixLayer, bias: Tensor | None) -> None:
        """`bias` is what the host adds to the scores by the position of the key, (…, keys) or (…, queries, keys)."""
        super().__init__()
        self.layer = layer
        self.bias = bias
        self.products: list[tuple[Tensor, int, str | None]] = []
        """First factor, number of values and, of an einsum, the equation of each product before the softmax."""
        self.query: Tensor | None = None
        self.equation: str | None = None
        self.weights: Tensor | None = None
        self.done = False

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        prefix = self.layer.current()
        if function is nn.functional.scaled_dot_product_attention:
            return self._attend(function, prefix, *args, **kwargs)
        if self.done or (prefix is None and not self.layer.watching):
            return function(*args, **kwargs)
        pair = attention.factors(function, args, kwargs)
        if self.weights is None and pair:
            result: Tensor = function(*args, **kwargs)
            equation = args[0].replace(" ", "") if function is torch.einsum else None
            self.products.append((pair[0], result.numel(), equation))
            return result
        if self.weights is None and function in attention.SOFTMAX and args[0].dim() in (3, 4):
            found = attention.first_factor(args[0], self.products)
            if found is not None and prefix is not None and found[0].shape[-1] == prefix[0].shape[-1]:
                self.query, _, self.equation = found
                return self._weigh(function, prefix[0], args, kwargs)
        elif self.weights is not None and prefix is not None and pair:
            return self._read(function, prefix[1], args, kwargs)
        return function(*args, **kwargs)

    def _attend(
        self,
        function: Any,
        prefix: tuple[Tensor, Tensor] | None,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **kwargs: Any,
    ) -> Any:
        if self.layer.watching:
            self.layer.seen = (key.detach(), value.detach())
        self.done = True
        if prefix is None:
            return function(query, key, value, attn_mask, dropout_p, is_causal, **kwargs)
        if is_causal and query.shape[2] > 1:
            attn_mask = causal_mask(query)
        key, value, attn_mask = extend(key, value, attn_mask, *prefix)
        return function(query, key, value, attn_mask=attn_mask, dropout_p=dropout_p, **kwargs)

    def _weigh(self, function: Any, keys: Tensor, args: Any, kwargs: Any) -> Tensor:
        """The softmax over the scores of the prefix and of the tokens; the part of the tokens."""
        scores, query = args[0], self.query
        assert query is not None
        keys = _as_many_heads(keys, scores).to(query.dtype)
        if self.equation is None:
            query = query.reshape(*scores.shape[:-1], query.shape[-1])  # batch and heads may be in one dimension
            own = query @ keys.transpose(-1, -2)
        else:
            left, right, result = _letters(self.equation)
            width = next(letter for letter in left if letter in right and letter not in result)
            token = next(letter for letter in right if letter not in left)
            head = [letter for letter in left if letter in right and letter in result][-1]
            own = torch.einsum(f"{left},{head}P{width}->{result.replace(token, 'P')}", query, keys)
        own = (own / math.sqrt(keys.shape[-1])).to(scores.dtype)
        if self.bias is not None:
            own = own + _bias_of_own_position(self.bias, scores.shape[-2])
        own = own.expand(*scores.shape[:-1], keys.shape[1])
        weights: Tensor = function(torch.cat([own, scores], -1), *args[1:], **kwargs)
        self.weights = weights[..., : keys.shape[1]]
        return weights[..., keys.shape[1] :].contiguous()

    def _read(self, function: Any, values: Tensor, args: Any, kwargs: Any) -> Tensor:
        """What the tokens' values give, and what the prefix's give."""
        assert self.weights is not None
        self.done = True
        values = _as_many_heads(values, self.weights)
        weights = self.weights.to(values.dtype)
        result: Tensor = function(*args, **kwargs)
        if function is not torch.einsum:
            read = (weights @ values).reshape(result.shape).to(result.dtype)
            return torch.add(result, read)
        left, right, given = _letters(args[0].replace(" ", ""))
        token = next(letter for letter in left if letter in right and letter not in given)
        head = [letter for letter in left if letter in right and letter in given][-1]
        width = next(letter for letter in right if letter not in left)
        own = torch.einsum(f"{left.replace(token, 'P')},{head}P{width}->{given}", weights, values)
        return torch.add(result, own.to(result.dtype))


def _bias_of_own_position(bias: Tensor, queries: int) -> Tensor:
    """What each query adds to its own position, (…, queries, 1): the prefix is as near to it as that."""
    if bias.shape[-2] > 1:
        return bias[..., -queries:, :].diagonal(bias.shape[-1] - queries, -2, -1)[..., None]
    return bias[..., -queries:].transpose(-1, -2)


def _as_many_heads(prefix: Tensor, scores: Tensor) -> Tensor:
    """The prefix for scores (batch, heads, ., .), with heads that were repeated, or (batch x heads, ., .)."""
    if scores.dim() == 3:
        return prefix.repeat(len(scores) // len(prefix), 1, 1)
    return prefix if len(prefix) == scores.shape[1] else prefix.repeat_interleave(scores.shape[1] // len(prefix), 0)


def _letters(equation: str) -> tuple[str, str, str]:
    operands, _, result = equation.partition("->")
    left, _, right = operands.partition(",")
    return left, right, result
