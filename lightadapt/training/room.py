"""Batches that the memory of a GPU has no room for are computed in pieces; the gradient of a step is the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from lightadapt.errors import LightAdaptError, warn
from lightadapt.training.batching import ROWS

Run = Callable[[dict[str, Any], Any], torch.Tensor]
"""Computes a batch forward and backward; what it is divided by, None for its own weight, is the second argument."""


class Room:
    """Halves batches when memory is out, and goes on with halves.

    Attributes:
        pieces: in how many each batch is computed.
    """

    def __init__(
        self,
        collate: Callable[[Sequence[int]], dict[str, Any]],
        weigh: Callable[[dict[str, Any]], torch.Tensor],
        clear: Callable[[], None],
        *,
        alone: bool,
    ) -> None:
        """Batches are whole as long as there is room.

        Args:
            collate: makes a batch of training sequences, by their numbers.
            weigh: what the loss of a batch counts.
            clear: forgets the gradients of a step.
            alone: whether no other process takes part in a step, which would have to do the same.
        """
        self.collate = collate
        self.weigh = weigh
        self.clear = clear
        self.alone = alone
        self.pieces = 1
        self._batches: list[tuple[dict[str, Any], Any]] = []

    def begin(self) -> None:
        """A step begins, with no gradients yet."""
        self._batches.clear()

    def compute(self, batch: dict[str, Any], divisor: Any, run: Run) -> torch.Tensor:
        """The loss of the next batch of this step, whose gradient is added.

        Raises:
            LightAdaptError: there is no room for a single record.
        """
        self._batches.append((batch, divisor))
        todo = self._batches[-1:]
        while True:
            try:
                return [self._in_pieces(*each, run) for each in todo][-1]
            except torch.OutOfMemoryError as error:
                longest = max(len(each[ROWS]) for each, _ in self._batches)
                if not self.alone or self.pieces >= longest:
                    raise LightAdaptError(self._say(batch, str(error))) from error
            self._halve()
            todo = self._batches  # what was added to their gradients is lost with those of the batch that failed

    def _halve(self) -> None:
        self.pieces *= 2
        self.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        warn(
            f"The GPU is out of memory: batches are computed in {self.pieces} pieces from here on, with the same "
            "gradients up to rounding and dropout. A smaller batch_tokens=… avoids this."
        )

    def _in_pieces(self, batch: dict[str, Any], divisor: Any, run: Run) -> torch.Tensor:
        rows = batch[ROWS].tolist() if self.pieces > 1 else []
        if len(rows) < 2:
            return run(batch, divisor)
        divisor = self.weigh(batch) if divisor is None else divisor
        parts = np.array_split(rows, min(self.pieces, len(rows)))
        return torch.stack([run(self.collate(part.tolist()), divisor) for part in parts]).sum()

    def _say(self, batch: dict[str, Any], reason: str) -> str:
        tokens = batch["attention_mask"].shape[-1]
        who = "a single record" if self.alone else "a batch"
        return (
            f"There is no memory for {who} of {tokens} tokens: {reason.splitlines()[0][:200]} Give "
            "args={'activation_checkpointing': True}, quantize='4bit' to adapt, a smaller batch_tokens=…, or shorter "
            "texts."
        )
