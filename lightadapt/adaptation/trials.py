"""Whether two ways of computing the same give the same, as far as rounding allows."""

from __future__ import annotations

import numpy as np
import torch

TOLERANCE = 1e-4
"""The difference that rounding explains, as a share of the largest output."""
ROUGH = 0.05
"""Likewise where the base computes with fewer than 32 bits."""


def are_near(found: np.ndarray, expected: np.ndarray, dtype: torch.dtype) -> bool:
    """Whether outputs of a model are those that are expected, but for rounding.

    Args:
        dtype: in which the model computes.
    """
    share = TOLERANCE if dtype == torch.float32 else ROUGH
    within = share * max(1e-6, float(np.abs(expected).max(initial=0.0)))
    return found.shape == expected.shape and float(np.abs(found - expected).max(initial=0.0)) <= within
