"""Low-rank updates of many adapters on rows of their own, in two products for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

LowRank: TypeAlias = "tuple[Tensor, Tensor, float]"
"""A `(rank, in)`, B `(out, rank)` and the scaling."""


class Updates(NamedTuple):
    """The updates of a layer by all its adapters, lower ranks filled up with zeros, and behind them one that is zero.

    `downs` is `(adapters + 1, rank, in)`, and `ups`, with the scaling in it, is `(adapters + 1, out, rank)`.
    """

    downs: Tensor
    ups: Tensor

    def write(self, place: int, update: LowRank) -> None:
        """Put another update in the place of one, with no higher a rank than the highest of all."""
        (a, b, scaling), down, up = update, self.downs[place], self.ups[place]
        if len(a) < len(down):
            down.zero_()
            up.zero_()
        down[: len(a)].copy_(a)
        torch.mul(b, scaling, out=up[:, : len(a)])

    @property
    def bytes(self) -> int:
        """What both take of memory."""
        return self.downs.nbytes + self.ups.nbytes


def stack_updates(updates: Sequence[LowRank], of_input: torch.dtype, of_result: torch.dtype) -> Updates:
    """The updates of one layer in one tensor for all A and one for all B.

    Args:
        updates: one at least.
        of_input: the dtype of what the layer is given.
        of_result: the dtype of what it gives.
    """
    rank = max(len(a) for a, _, _ in updates)
    filled = [_of_rank(rank, a, b) for a, b, _ in updates]
    first_a, first_b = filled[0]
    downs = torch.stack([*(a for a, _ in filled), torch.zeros_like(first_a)]).to(of_input)
    ups = torch.stack([*(b for _, b in filled), torch.zeros_like(first_b)])
    ups *= torch.tensor([*(scaling for *_, scaling in updates), 0.0], dtype=ups.dtype, device=ups.device)[:, None, None]
    return Updates(downs, ups.to(of_result))


def add_updates(result: Tensor, x: Tensor, updates: Updates, owners: Tensor | None) -> None:
    """Add scaling · B A x to each row, in place.

    Every row gets A and B of its own in one tensor each, so that two products compute all. Products by adapters, one
    after the other, take longer from the third adapter on.

    Args:
        result: `(rows, …, out)`.
        x: `(rows, …, in)`.
        owners: for each row the place of its adapter, `(rows,)`; None: the first has the first, and so on.
    """
    mine = (each[: len(x)] if owners is None else each.index_select(0, owners) for each in updates)
    downs, ups = (each.transpose(1, 2) for each in mine)
    narrow = torch.bmm(x.reshape(len(x), -1, x.shape[-1]), downs).to(result.dtype)
    result.view(len(result), -1, result.shape[-1]).baddbmm_(narrow, ups)


def _of_rank(rank: int, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The same factors with a higher rank, filled up with zeros."""
    more = rank - len(a)
    return (nn.functional.pad(a, (0, 0, 0, more)), nn.functional.pad(b, (0, more))) if more else (a, b)
