"""Low-rank updates of many adapters on rows of their own, in two products for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

LowRank: TypeAlias = "tuple[Tensor, Tensor, float]"
"""A `(rank, in)`, B `(out, rank)` and the scaling."""


def add_updates(result: Tensor, x: Tensor, groups: Sequence[tuple[LowRank | None, int]]) -> None:
    """Add scaling · B A x to the rows of each group, in place.

    Every row gets A and B of its own in one tensor each, so that two products compute all; lower ranks are filled up
    with zeros. Products by groups, one after the other, take longer from the third group on.

    Args:
        result: `(rows, …, out)`.
        x: `(rows, …, in)`.
        groups: the update of each group, None where there is none, and the number of its rows.
    """
    updates = [update for update, _ in groups if update is not None]
    if not updates:
        return
    rank = max(len(a) for a, _, _ in updates)
    blank = (x.new_zeros(rank, x.shape[-1]), x.new_zeros(result.shape[-1], rank), 0.0)
    filled = [blank if update is None else _of_rank(rank, *update) for update, _ in groups]
    downs = torch.stack([a for a, _, _ in filled]).to(x.dtype)
    ups = torch.stack([b for _, b, _ in filled]).to(result.dtype)
    ups *= torch.tensor([scaling for *_, scaling in filled], dtype=ups.dtype, device=ups.device)[:, None, None]
    if len(groups) < len(x):
        owner = torch.tensor([number for number, (_, rows) in enumerate(groups) for _ in range(rows)], device=x.device)
        downs, ups = downs[owner], ups[owner]
    narrow = torch.bmm(x.reshape(len(x), -1, x.shape[-1]), downs.transpose(1, 2)).to(result.dtype)
    result.view(len(result), -1, result.shape[-1]).baddbmm_(narrow, ups.transpose(1, 2))


def _of_rank(rank: int, a: Tensor, b: Tensor, scaling: float) -> LowRank:
    """The same update with a higher rank, filled up with zeros."""
    more = rank - len(a)
    if not more:
        return a, b, scaling
    return nn.functional.pad(a, (0, 0, 0, more)), nn.functional.pad(b, (0, more)), scaling
