"""Low-rank updates of many adapters on rows of their own, in as few products as pays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

FEW = 8
"""So many products one after the other take less time than gathering what one product needs."""

LowRank: TypeAlias = "tuple[Tensor, Tensor, float]"
"""A `(rank, in)`, B `(out, rank)` and the scaling."""


def add_updates(result: Tensor, x: Tensor, groups: Sequence[tuple[LowRank | None, int]]) -> None:
    """Add scaling · B A x to the rows of each group, in place.

    Args:
        result: `(rows, …, out)`.
        x: `(rows, …, in)`.
        groups: the update of each group, None where there is none, and the number of its rows.
    """
    flat, given = result.reshape(len(result), -1, result.shape[-1]), x.reshape(len(x), -1, x.shape[-1])
    if sum(update is not None for update, _ in groups) > FEW:
        _add_together(flat, given, groups)
    else:
        _add_one_by_one(flat, given, groups)


def _add_one_by_one(result: Tensor, x: Tensor, groups: Sequence[tuple[LowRank | None, int]]) -> None:
    """Each update by products of its own; `result` (rows, T, out), `x` (rows, T, in)."""
    start = 0
    for update, rows in groups:
        if update is not None:
            a, b, scaling = update
            mine = x[start : start + rows].flatten(0, 1)
            narrow = a.to(x.dtype) @ mine.t()  # the rank as the number of rows, which is the faster order
            place = result[start : start + rows].view(-1, result.shape[-1])
            place.addmm_(narrow.t().to(result.dtype), b.to(result.dtype).t(), alpha=scaling)
        start += rows


def _add_together(result: Tensor, x: Tensor, groups: Sequence[tuple[LowRank | None, int]]) -> None:
    """Likewise by two products for all, with A and B of every row in one tensor."""
    updates = [update for update, _ in groups if update is not None]
    rank = max(len(a) for a, _, _ in updates)
    blank = (x.new_zeros(rank, x.shape[-1]), x.new_zeros(result.shape[-1], rank), 0.0)
    filled = [blank if update is None else _of_rank(rank, *update) for update, _ in groups]
    downs = torch.stack([a for a, _, _ in filled]).to(x.dtype)
    ups = torch.stack([b for _, b, _ in filled]).to(result.dtype)
    ups *= torch.tensor([scaling for *_, scaling in filled], dtype=ups.dtype, device=ups.device)[:, None, None]
    if len(groups) < len(x):
        owner = torch.tensor([number for number, (_, rows) in enumerate(groups) for _ in range(rows)], device=x.device)
        downs, ups = downs[owner], ups[owner]
    narrow = torch.bmm(x, downs.transpose(1, 2)).to(result.dtype)
    result.baddbmm_(narrow, ups.transpose(1, 2))


def _of_rank(rank: int, a: Tensor, b: Tensor, scaling: float) -> LowRank:
    """The same update with a higher rank, filled up with zeros."""
    more = rank - len(a)
    if not more:
        return a, b, scaling
    return nn.functional.pad(a, (0, 0, 0, more)), nn.functional.pad(b, (0, more)), scaling
