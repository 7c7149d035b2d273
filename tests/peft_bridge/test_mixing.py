"""Rows of one batch for several adapters, as the layers see them."""

from __future__ import annotations

import pytest
import torch

import lightadapt as la
from lightadapt import peft_bridge
from lightadapt.peft_bridge.grouped import add_updates, stack_updates
from lightadapt.peft_bridge.mixing import Mixing


@pytest.mark.parametrize("shape", [(5, 7, 4), (5, 4), (35, 4), (5, 7, 2, 4)])
def test_rows_come_first_whatever_the_form(shape):
    mixing = Mixing([("a", 2), ("b", 3)], tokens=7)
    assert len(mixing.by_row(torch.zeros(shape))) == 5


@pytest.mark.parametrize("shape", [(7, 5, 4), (1, 7, 4), (33, 4), (10, 7, 4), (5, 2, 7, 4), (5, 6, 4), ()])
def test_what_does_not_come_row_by_row_is_refused(shape):
    with pytest.raises(peft_bridge.NotMixedError, match="for 5 rows"):
        Mixing([("a", 2), ("b", 3)], tokens=7).by_row(torch.zeros(shape))


@pytest.mark.parametrize("groups", [3, 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_updates_are_those_of_the_formula(groups, dtype):
    torch.manual_seed(0)
    ranks = [1 + number % 4 for number in range(groups)]
    updates = [(torch.randn(rank, 6), torch.randn(5, rank), 0.5 * rank) if rank < 4 else None for rank in ranks]
    rows = [1 + number % 2 for number in range(groups)]
    x, result = torch.randn(sum(rows), 3, 6).to(dtype), torch.randn(sum(rows), 3, 5).to(dtype)
    expected, start = result.double(), 0
    for update, count in zip(updates, rows, strict=True):
        if update is not None:
            a, b, scaling = (each.double() if torch.is_tensor(each) else each for each in update)
            expected[start : start + count] += scaling * x[start : start + count].double() @ a.T @ b.T
        start += count
    present = [update for update in updates if update is not None]
    numbers = iter(range(len(present)))
    places = [len(present) if update is None else next(numbers) for update in updates]
    owners = torch.tensor([place for place, count in zip(places, rows, strict=True) for _ in range(count)])
    add_updates(result, x, stack_updates(present, dtype, dtype), owners)
    bounds = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.05, "atol": 0.2}
    torch.testing.assert_close(result.double(), expected, check_dtype=False, **bounds)


def test_it_is_told_which_adapters_compute_by_row(tiny):
    adapted = la.adapt(tiny("bert"), "classification", "lora", labels=["A", "B"])
    for method in ("prompt", "prefix", "dora"):
        adapted.add(method, method=method)
    assert [peft_bridge.can_mix(adapted.model, name) for name in adapted.names] == [True, False, True, True]
