"""Prefix tuning (Li and Liang 2021) inside the attention: learned keys and values that every token may attend to.

PEFT gives a prefix as a cache, which no encoder takes, which shifts positions, and which gradient checkpointing drops.
Here the attention itself gets `length` more keys and values, behind the cache and behind the positions: nothing is
shifted, nothing is stored in a cache, and recomputing a block computes them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightadapt.anatomy import attention
from lightadapt.errors import LightAdaptError
from lightadapt.peft_bridge import PeftConfig, each_rows, register_tuner, rows_of, tuner_kind
from lightadapt.tuners.attached import AttachedLayer, AttachingTuner
from lightadapt.tuners.prefix_attention import Interception, causal_mask, extend, widen

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
        self._modes: list[Interception] = []

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

    @property
    def computes_by_row(self) -> bool:
        return self.through_interface  # what is intercepted takes one prefix at a time

    def current(self) -> tuple[Tensor, Tensor] | None:
        """The prefix to apply now: keys and values, (heads, length, width)."""
        names = self.running
        if len(names) < 2:
            return (self.keys[names[0]], self.values[names[0]]) if names else None
        return torch.cat([self.keys[name] for name in names], 1), torch.cat([self.values[name] for name in names], 1)

    def watch(self) -> None:
        """Apply no prefix, and keep the keys and values that the host computes."""
        self.watching, self._disable_adapters = True, True

    def unwatch(self) -> tuple[Tensor, Tensor] | None:
        """The last keys and values, (batch, heads, tokens, width); from now on the prefix is applied again."""
        self.watching, self._disable_adapters = False, False
        seen, self.seen = self.seen, None
        return seen

    def detach_from_host(self) -> None:
        if self.through_interface:
            attention.undo(self.host)
        super().detach_from_host()

    def _enter(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        self._modes.append(Interception(self, kwargs.get("position_bias")))
        self._modes[-1].__enter__()  # type: ignore[no-untyped-call]

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        mode = self._modes.pop()
        mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        if output is not None and not mode.done and self.running:
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
    if layer.mixing is None:
        return _attend_with_prefix(layer, query, key, value, attention_mask, *args, **kwargs)
    found = [
        _attend_with_prefix(
            layer,
            query[rows],
            key[rows],
            value[rows],
            rows_of(attention_mask, rows, len(query)),
            *args,
            **{name: rows_of(each, rows, len(query)) for name, each in kwargs.items()},
        )
        for rows in each_rows(layer, query)
    ]
    return torch.cat([output for output, _ in found]), None  # the weights have as many columns as each prefix is long


def _attend_with_prefix(
    layer: PrefixLayer,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any = None,
    *args: Any,
    **kwargs: Any,
) -> Any:
    module = layer.host
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
        mask = causal_mask(query)
    if kwargs.get("position_bias") is not None:
        kwargs["position_bias"] = widen(kwargs["position_bias"], prefix[0].shape[1], 0)
    key, value, mask = extend(key, value, mask, *prefix)
    output, weights = function(module, query, key, value, mask, *args, **kwargs)
    return output, weights[..., prefix[0].shape[1] :] if torch.is_tensor(weights) else weights


class PrefixTuner(AttachingTuner):
    """PEFT's way to insert, save, switch and take out prefixes."""

    prefix = "lightadapt_prefix_"
    tuner_layer_cls = PrefixLayer

    def fill(self, layer: Any, config: Any, name: str, path: str) -> None:
        layer.reach(interface=path in config.interface)
        layer.fill(name, config.shapes[path], config)


attention.register(FUNCTION, _attend)
register_tuner(PEFT_TYPE, PrefixConfig, PrefixTuner)
