"""Tensors without values, of the meta device, where a model asks for values: it goes on as for an ordinary text.

Token ids and masks are real tensors and keep their values, so that control flow which depends on them goes the way it
goes for an ordinary text; what comes from weights has none, and is answered as zero where asked.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental import _config as shapes
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

_VALUES = {Tensor.item: 0, Tensor.__bool__: False, Tensor.__int__: 0, Tensor.__float__: 0.0, Tensor.__index__: 0}
_ALL = {torch.all, Tensor.all, torch._is_all_true}
_SEARCHES = {
    *(torch.nonzero, Tensor.nonzero, torch.unique, Tensor.unique),
    *(torch.unique_consecutive, Tensor.unique_consecutive, Tensor.tolist, Tensor.numpy),
}
_COPIES = {Tensor.to, Tensor.cpu, Tensor.type}
_SPLITS: set[Any] = {torch.split, Tensor.split, torch.split_with_sizes, Tensor.split_with_sizes}
_INDEXING = {Tensor.__getitem__, Tensor.__setitem__}


def choose_everything() -> Any:
    """What a mask without values chooses is taken to be everything."""
    return shapes.patch(meta_nonzero_assume_all_nonzero=True)  # type: ignore[attr-defined]


class WithoutValues(TorchFunctionMode):
    """Answers what the meta device cannot, and lets real tensors and those without values be computed with together."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is torch.rand and args and args[0] == []:
            return torch.ones([])  # the chance by which whole blocks are left out in training: none is
        if function in _VALUES and args[0].is_meta:
            return getattr(args[0], "_assumed", _VALUES[function])
        if function in _SEARCHES and args[0].is_meta:  # as if every value were there, and the same
            return function(torch.ones(args[0].shape, dtype=args[0].dtype), *args[1:], **kwargs)
        if function in _SPLITS and args[0].is_meta and isinstance(args[1], list):
            args = (args[0], _whole(args[1], args[0].shape[(*args[2:], kwargs.get("dim", 0))[0]]), *args[2:])
        if function is torch.equal and args[0].is_meta:
            return False
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        if any(tensor.is_meta for tensor in tensors):
            if function in _COPIES:
                args, kwargs = _without_device(args, kwargs)
            if not all(tensor.is_meta or not tensor.dim() for tensor in tensors):
                if function in _INDEXING:
                    args = (args[0], tree_map(_as_indices, args[1]), *args[2:])
                args, kwargs = tree_map(_to_meta, (args, kwargs))
        result = function(*args, **kwargs)
        if function in _ALL and result.is_meta:
            result._assumed = True  # a mask that is asked whether it is full, is
        return result


def _whole(sizes: list[int], size: int) -> list[int]:
    """Sizes that make up the whole; where they were read from values, the first part gets everything."""
    return sizes if sum(sizes) == size else [size, *(0 for _ in sizes[1:])]


def _to_meta(value: Any) -> Any:
    return value.to("meta") if isinstance(value, Tensor) and value.dim() and not value.is_meta else value


def _as_indices(value: Any) -> Any:
    """A mask with values as the positions it selects, whose number is then known."""
    if isinstance(value, Tensor) and not value.is_meta and value.dtype == torch.bool:
        return value.nonzero(as_tuple=True)
    return value


def _without_device(args: Any, kwargs: Any) -> tuple[Any, Any]:
    """A copy that stays on the meta device."""
    kept = [value for value in args if not isinstance(value, torch.device) and value not in ("cpu", "cuda")]
    return tuple(kept), {name: value for name, value in kwargs.items() if name != "device"}
