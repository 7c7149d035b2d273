"""Products by oneDNN are those of torch, whatever the form of the weight."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightadapt.machine import products

WITHOUT = not torch.backends.mkldnn.is_available() or products._onednn() is None
pytestmark = pytest.mark.skipif(WITHOUT, reason="this torch has no oneDNN that can be called")


@pytest.fixture
def by_onednn(monkeypatch):
    """As on a processor where oneDNN is the faster one."""
    monkeypatch.setattr(products, "_suits_onednn", lambda dtype: True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(7, 24), (2, 3, 24), (1, 24), (24,), (0, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_gives_the_same(by_onednn, dtype, shape, bias):
    torch.manual_seed(0)
    layer = nn.Linear(24, 10, bias=bias).to(dtype).requires_grad_(False)
    x = torch.randn(shape).to(dtype)
    near = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.02, "atol": 0.02}
    torch.testing.assert_close(products.linear(x, layer.weight, layer.bias), layer(x), **near)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_factors_need_not_lie_row_by_row(by_onednn, dtype):
    torch.manual_seed(0)
    x, y = torch.randn(12, 5).to(dtype).t(), torch.randn(8, 12).to(dtype).t()
    near = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.02, "atol": 0.05}
    torch.testing.assert_close(products.times(x, y), x @ y, **near)


def test_what_does_not_fit_is_refused_as_by_torch(by_onednn):
    with pytest.raises(RuntimeError):
        products.linear(torch.ones(2, 3), torch.ones(4, 3).bfloat16())
    with pytest.raises(RuntimeError):
        products.linear(torch.ones(2, 3), torch.ones(4, 5))


def test_an_other_processor_or_format_keeps_to_torch(monkeypatch):
    for able, suiting in (
        ({"sse4a": True, "avx512_f": True}, [torch.float32]),
        ({"sse4a": True}, []),
        ({"avx512_f": True, "avx512_bf16": True}, []),
        ({}, []),
    ):
        products._suits_onednn.cache_clear()
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        formats = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
        assert [dtype for dtype in formats if products._suits_onednn(dtype)] == suiting
    products._suits_onednn.cache_clear()
