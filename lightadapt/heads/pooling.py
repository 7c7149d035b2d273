"""One vector for a text, from the hidden states of its tokens."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch

Pooling: TypeAlias = str
"""`"mean"` of the tokens, or `"cls"`, the first one."""
POOLINGS: tuple[Pooling, ...] = ("mean", "cls")


def pool(hidden: torch.Tensor, attention_mask: torch.Tensor, way: Pooling) -> torch.Tensor:
    """`(B, width)` in float32, one vector for each row of hidden states `(B, T, width)`.

    A mask longer than the hidden states, or shorter by a prompt in front of them, counts from the end.
    """
    hidden = hidden.float()
    if way == "cls":
        return hidden[:, 0]
    real = attention_mask[:, -hidden.shape[1] :, None].to(hidden.dtype)  # (B, T, 1)
    return (hidden[:, -real.shape[1] :] * real).sum(1) / real.sum(1).clamp_min(1)


def of_length_one(vectors: np.ndarray) -> np.ndarray:
    """The vectors `(…, width)` divided by their lengths; one of zeros stays as it is."""
    found: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return found
