"""How attention is reached from outside: by transformers' interface, one module at a time, or by torch's functions.

`model.set_attn_implementation(name)` switches a whole model, changes the format of its masks, and is accepted in
silence by models that never ask. A module whose config is seen through a `Redirected` view asks for our function,
while everything else of the config, and the model itself, stays as it is.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

SOFTMAX = {torch.softmax, Tensor.softmax, nn.functional.softmax}
_PRODUCTS = {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm}
_ADDED_PRODUCTS = {torch.baddbmm, Tensor.baddbmm}


def factors(function: Any, args: Any, kwargs: Any) -> tuple[Tensor, Tensor] | None:
    """The two factors of a product of activations, for models that write attention out; None for anything else."""
    if function in _PRODUCTS and args[0].dim() >= 3 and args[1].dim() == args[0].dim():
        return args[0], args[1]
    if function in _ADDED_PRODUCTS:
        first, second = (*args[1:3], kwargs.get("batch1"), kwargs.get("batch2"))[:2]
        return first, second
    if function is torch.einsum and len(args) == 3 and args[1].dim() == args[2].dim() == 4:
        return args[1], args[2]
    return None


def first_factor(scores: Tensor, products: Sequence[tuple[Any, ...]]) -> tuple[Any, ...] | None:
    """The entry of the product that gave these scores; entries begin with first factor and number of values."""
    matching = [entry for entry in products if entry[1] == scores.numel()]
    return max(matching, key=lambda entry: entry[0].dim(), default=None)  # the first among those of most dimensions


class Redirected:
    """A config as it is, except that it names another attention function."""

    def __init__(self, config: Any, name: str) -> None:
        self.__dict__["_config"] = config
        self.__dict__["_name"] = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute == "_attn_implementation":
            return self.__dict__["_name"]
        return getattr(self.__dict__["_config"], attribute)

    def __setattr__(self, attribute: str, value: Any) -> None:
        setattr(self.__dict__["_config"], attribute, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Redirected:
        return Redirected(copy.deepcopy(self.__dict__["_config"], memo), self.__dict__["_name"])

    def __reduce__(self) -> tuple[Any, ...]:
        return Redirected, (self.__dict__["_config"], self.__dict__["_name"])


def register(name: str, function: Callable[..., Any]) -> None:
    """Make an attention function known to transformers under a name."""
    AttentionInterface.register(name, function)


def has_own_config(module: nn.Module) -> bool:
    """Whether the module may ask its config for an attention function; models ask theirs for masks, too."""
    return not isinstance(module, PreTrainedModel) and hasattr(getattr(module, "config", None), "_attn_implementation")


def redirect(module: nn.Module, name: str) -> None:
    """Let a module call the function registered under `name` in place of its own."""
    module.config = Redirected(original_config(module), name)  # type: ignore[assignment]


def is_redirected(module: nn.Module) -> bool:
    """Whether a module calls a function of ours already."""
    return isinstance(module.config, Redirected)


def undo(module: nn.Module) -> None:
    """Give a module its own attention function back."""
    module.config = original_config(module)


def original_config(module: nn.Module) -> Any:
    """The config of a module, redirected or not."""
    config: Any = module.config
    return config.__dict__["_config"] if isinstance(config, Redirected) else config


def implementation(module: nn.Module) -> str:
    """The name of the attention function that a redirected module would call by itself."""
    return original_config(module)._attn_implementation or "eager"


def original_function(module: nn.Module) -> Callable[..., Any]:
    """The attention function that a redirected module would call by itself."""
    source = vars(sys.modules[type(module).__module__])
    functions = source.get("ALL_ATTENTION_FUNCTIONS", ALL_ATTENTION_FUNCTIONS)
    return functions.get_interface(implementation(module), source.get("eager_attention_forward"))  # type: ignore[no-any-return]
