"""Products with the weights of a layer, by the library that computes them fastest on this processor.

torch gives products in float32 to MKL, which takes twice the time of oneDNN on processors of AMD with AVX-512. oneDNN
reads the weights where they are: nothing is packed or copied. In bfloat16 torch calls oneDNN anyway, and so keeps
fewer kernels than by a call of its own.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A layer's x W' + bias, `(…, in)` to `(…, out)` with W `(out, in)`; nothing is noted for a backward pass."""
    plain = torch.compiler.is_compiling() or x.device.type != "cpu" or x.dtype != weight.dtype or not x.numel()
    if plain or not _suits_onednn(x.dtype):
        return nn.functional.linear(x, weight, bias)
    return _onednn()(x, weight, bias, "none", [], "")  # type: ignore[no-any-return]


def times(x: Tensor, y: Tensor) -> Tensor:
    """The product x y, `(M, K)` by `(K, N)`, likewise."""
    return linear(x, y.t())


@cache
def _suits_onednn(dtype: torch.dtype) -> bool:
    """Whether oneDNN is the faster one for this number format here, and can be called."""
    able = torch.cpu.get_capabilities()
    of_amd = able.get("sse4a", False)  # which no other maker's processors have
    there = torch.backends.mkldnn.is_available() and _onednn() is not None  # type: ignore[no-untyped-call]
    return dtype == torch.float32 and of_amd and able.get("avx512_f", False) and there


@cache
def _onednn() -> Any:
    """The product of oneDNN with a weight that need not be packed, which torch has for its compiled models."""
    operation = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    return getattr(operation, "default", None)
