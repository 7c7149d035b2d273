"""Weights of 4 bits in the form that training and merging read, on every processor.

On some CPUs bitsandbytes has two ways of its own with them, which end in silence or in wrong numbers:

- Where there is AVX512-BF16, it packs a weight anew at the first inference, for a kernel that no gradient goes through,
  that rounds the scales to bfloat16, and that dies of rows or columns of other numbers than it was written for.
- Where there is AVX-512, it counts `columns // block` scales for each row of a weight, though the blocks run on over
  the ends of rows: with 48 columns and blocks of 64, every value is given the first scale.

So nothing is packed as long as it may be trained or merged, and where scales are counted so, torch is given a kernel
that counts them as they were made.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

PACKED_ROWS = 32
"""The kernel for packed weights takes so many rows at a time."""


def keep_trainable(model: nn.Module) -> None:
    """Keep the 4-bit weights of a model unpacked from now on, in place, and see that they are read as they were made.

    The values are those of before, except where a weight was packed already: its scales were rounded then.
    """
    for module in _layers(model):
        module.support_avx512bf16_for_cpu = False
        _unpack(module)
        if module.weight.device.type == "cpu":
            mended_kernel()


def unpack(model: nn.Module) -> None:
    """Take back the packing of a model that was evaluated, in place; it packs again at its next inference."""
    for module in _layers(model):
        _unpack(module)


def computed_alone(module: Any) -> bool:
    """Whether bitsandbytes by itself computes a 4-bit layer rightly here: in a model that leaves this library."""
    from bitsandbytes.nn.modules import has_avx512bf16

    if module.weight.device.type != "cpu":
        return True
    rows, columns, block = module.out_features, module.in_features, module.weight.blocksize
    if has_avx512bf16():
        return bool(rows % PACKED_ROWS == 0 and columns % block == 0)
    return bool(columns % block == 0) or mended_kernel() is None


def _layers(model: nn.Module) -> Iterator[Any]:
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu") and getattr(module.weight, "quant_state", None) is not None:
            yield module


def _unpack(module: Any) -> None:
    state = module.weight.quant_state
    if getattr(state, "packing_format_for_cpu", False):
        module.state_dict()  # bitsandbytes unpacks what is to be saved
    if state.absmax.ndim == 2:  # but leaves scales that are not quantized themselves as its kernel reads them
        state.absmax = state.absmax.T.flatten().float()


@cache
def mended_kernel() -> Any | None:
    """The kernel that reads 4-bit weights in place of that of bitsandbytes on this CPU; None where that one is right.

    Only their shape is told otherwise: with a block for each row, bitsandbytes counts right on every processor.
    """
    import bitsandbytes  # noqa: F401

    if _reads_own_scales():
        return None
    theirs = torch.library.get_kernel("bitsandbytes::dequantize_4bit", "CPU")

    def read(
        keys: Any, packed: Tensor, scales: Tensor, block: int, kind: str, shape: Sequence[int], dtype: torch.dtype
    ) -> Tensor:
        count = prod(shape)
        rows = [count // block, block] if count % block == 0 else [1, count]
        values: Tensor = theirs.call_boxed(keys, packed, scales, block, kind, rows, dtype)
        return values.view(shape)

    library: Any = torch.library.Library("bitsandbytes", "IMPL")  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that a kernel is replaced
        library.impl("dequantize_4bit", read, "CPU", with_keyset=True, allow_override=True)
    return library


def _reads_own_scales() -> bool:
    """Whether bitsandbytes gives every value the scale of its own block on this CPU where rows end within blocks."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    weight = torch.arange(1.0, 9.0).repeat_interleave(48).view(8, 48)
    packed, state = quantize_4bit(weight, blocksize=64, quant_type="nf4")
    found = dequantize_4bit(packed, state)
    state.shape = torch.Size((6, 64))
    return torch.equal(found.flatten(), dequantize_4bit(packed, state).flatten())
