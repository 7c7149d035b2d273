"""What the batches of a run come to: their tokens, with and without padding, and their shapes."""

from __future__ import annotations

import torch


class BatchCounts:
    """Counts of all batches of a run in this process.

    Attributes:
        real: tokens without padding, on the device: reading it waits for a GPU.
        computed: tokens with padding.
        shapes: of the batches, each once.
    """

    def __init__(self, device: torch.device) -> None:
        """No batch yet."""
        self.real = torch.zeros((), dtype=torch.long, device=device)
        self.computed = 0
        self.shapes: set[tuple[int, ...]] = set()

    def note(self, mask: torch.Tensor) -> None:
        """Count a batch, of which this is the attention mask."""
        self.real += mask.sum()
        self.computed += mask.numel()
        self.shapes.add(tuple(mask.shape))
