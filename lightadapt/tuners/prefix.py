"""Prefix tuning (Li and Liang 2021) inside the attention: learned keys and values that every token may attend to.

PEFT gives a prefix as a cache, which no encoder takes, which shifts positions, and which gradient checkpointing drops.
Here the attention itself gets `length` more keys and values, behind the cache and behind the positions: nothing is
shifted, nothing is stored in a cache, and recomputing a block computes them again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lightadapt.anatomy import attention
from lightadapt.errors import LightAdaptError
from lightadapt.peft_bridge import PeftConfig, register_tuner, tuner_kind
from lightadapt.tuners.attached import AttachedLayer, AttachingTuner

PEFT_TYPE = "LIGHTADAPT_PREFIX"
FUNCTION = "lightadapt_prefix"


@dataclass
class PrefixConfig(PeftConfig):  # type: ignore[misc]
    """What PEFT needs to know to attach prefixes again."""

    target_modules: set[str] | list[str] | None = None
    """The modules that compute attention."""
    num_virtual_tokens: int = 20
    shapes: dict[str, Sequence[int]] = field(default_factory=dict)
    """Heads, width of a key and width of a value, by module."""
    interface: list[str] = field(default_factory=list)
    """Those of the modules that call transformers' attention interface; the others call torch's functions."""
    deviation: float = 0.02
    """Standard deviation of the numbers that a prefix starts from."""
    modules_to_save: list[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = tuner_kind(PEFT_TYPE)
        self.target_modules = set(self.target_modules or ())


class PrefixLayer(AttachedLayer):
    """softmax(Q [P_k, K]^T / sqrt(d)) [P_v, V] with learned P_k, P_v: (heads, length, width)."""

    attribute: ClassVar[str] = "lightadapt_prefix_layer"
    adapter_layer_names: ClassVar[tuple[str, ...]] = ("keys", "values")

    def __init__(self, host: nn.Module, *, interface: bool = True) -> None:
        super().__init__(host)
        self.keys, self.values = nn.ParameterDict(), nn.ParameterDict()
        self.seen: tuple[Tensor, Tensor] | None = None
        """The last keys and values of a batch, (batch, heads, tokens, width), while `watching`."""
        self.watching = False
        self.through_interface = False
        self._modes: list[_Interception] = []

    def reach(self, *, interface: bool) -> None:
        """Arrange to be asked when the host computes attention."""
        if interface and not self.through_interface:
            attention.redirect(self.host, FUNCTION)
            self.through_interface = True
        elif not interface and not self._handles:
            self._handles.append(self.host.register_forward_pre_hook(self._enter, with_kwargs=True))
            self._handles.append(self.host.register_forward_hook(self._leave, always_call=True))

    def fill(self, name: str, shape: Sequence[int], config: PrefixConfig) -> None:
        heads, key_width, value_width = shape
        place = next(self.host.parameters()).device
        for prefix, width in ((self.keys, key_width), (self.values, value_width)):
            start = torch.randn(heads, config.num_virtual_tokens, width) * config.deviation
            prefix[name] = nn.Parameter(start.to(place))

    def current(self) -> tuple[Tensor, Tensor] | None:
        """The prefix to apply now: keys and values, (heads, length, width)."""
        name = self.running
        return None if name is None else (self.keys[name], self.values[name])

    def detach_from_host(self) -> None:
        if self.through_interface:
            attention.undo(self.host)
        super().detach_from_host()

    def _enter(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        self._modes.append(_Interception(self, kwargs.get("position_bias")))
        self._modes[-1].__enter__()  # type: ignore[no-untyped-call]

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        mode = self._modes.pop()
        mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        if output is not None and not mode.done and self.running is not None:
            raise LightAdaptError(
                f"The prefix did not reach the attention of {type(module).__name__} on this input: it computes another "
                "kind of attention than it did on a short text. Use method='lora' or 'parallel'."
            )


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any = None,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """The host's own attention function with the prefix in front of its keys and values."""
    layer: PrefixLayer = getattr(module, PrefixLayer.attribute)
    function = attention.original_function(module)
    if layer.watching:
        layer.seen = (key.detach(), value.detach())
    prefix = layer.current()
    if prefix is None:
        return function(module, query, key, value, attention_mask, *args, **kwargs)
    mask, name = attention_mask, attention.implementation(module)
    causal = kwargs.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    if mask is None and causal and query.shape[2] > 1 and name == "sdpa":  # which reads no mask as this one
        key, value = key[:, :, : query.shape[2]], value[:, :, : query.shape[2]]
        mask = _causal_mask(query)
    if kwargs.get("position_bias") is not None:
        kwargs["position_bias"] = _widen(kwargs["position_bias"], prefix[0].shape[1], 0)
    key, value, mask = _extend(key, value, mask, *prefix)
    output, weights = function(module, query, key, value, mask, *args, **kwargs)
    return output, weights[..., prefix[0].shape[1] :] if torch.is_tensor(weights) else weights


def _extend(key: Tensor, value: Tensor, mask: Any, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Any]:
    """Keys and values (batch, heads, tokens, width) with the prefix in front, and a mask that shows it to all."""
    length, tokens = keys.shape[1], key.shape[2]
    if keys.shape[0] > key.shape[1]:  # one head of the keys stands for several here
        key, value = (each.repeat_interleave(keys.shape[0] // each.shape[1], 1) for each in (key, value))
    elif keys.shape[0] < key.shape[1]:  # the model has repeated its shared heads already
        keys, values = (each.repeat_interleave(key.shape[1] // each.shape[0], 0) for each in (keys, values))
    keys, values = (each.expand(key.shape[0], -1, -1, -1) for each in (keys.to(key.dtype), values.to(value.dtype)))
    if torch.is_tensor(mask):
        if mask.dim() == 2:  # flash attention's mask of padding
            mask = _widen(mask, length, 1)
        else:
            mask = _widen(mask[..., :tokens], length, True if mask.dtype == torch.bool else 0)
    elif mask is not None:
        mask = _widen_block_mask(mask, length)
    return torch.cat([keys, key], 2), torch.cat([values, value], 2), mask


def _widen(mask: Tensor, length: int, value: float) -> Tensor:
    return torch.cat([mask.new_full((*mask.shape[:-1], length), value), mask], -1)


def _causal_mask(query: Tensor) -> Tensor:
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


class _Interception(TorchFunctionMode):
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
            attn_mask = _causal_mask(query)
        key, value, attn_mask = _extend(key, value, attn_mask, *prefix)
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


class PrefixTuner(AttachingTuner):
    """PEFT's way to insert, save, switch and take out prefixes."""

    prefix = "lightadapt_prefix_"
    tuner_layer_cls = PrefixLayer

    def fill(self, layer: Any, config: Any, name: str, path: str) -> None:
        layer.reach(interface=path in config.interface)
        layer.fill(name, config.shapes[path], config)


attention.register(FUNCTION, _attend)
register_tuner(PEFT_TYPE, PrefixConfig, PrefixTuner)
