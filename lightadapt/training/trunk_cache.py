"""The hidden states of the blocks below all that learns, computed in the first epoch and read in the others.

What no trained parameter has a part in is the same in every epoch, as long as dropout is off there. Its share of a step
is then a copy from memory (as in AutoFreeze, Liu et al. 2021, and PAC, Ouyang et al. 2024). Here the blocks are found
by structure; whether anything trained lies below them is seen from autograd; and that the model needs nothing else of
them, and that they read each record for itself, is tried before the first step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from lightadapt.adaptation.passing import form_of, hands_on_more, hidden_of, standing_in, watching
from lightadapt.adaptation.trials import ROUGH, TOLERANCE
from lightadapt.errors import LightAdaptError
from lightadapt.training.hidden_states import HiddenStates, real_tokens

Batch: TypeAlias = tuple[Tensor, Callable[[], Tensor]]
"""The attention mask of a batch, and what computes its loss."""


class TrunkCache:
    """Hidden states by record, filled by the batches that are computed and read by those that are known.

    Attributes:
        cached_blocks: how many of the lowest blocks are read instead of computed; 0 before the first batch, and when
            there are none.
        reason: why there are none.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        lengths: Sequence[int],
        *,
        folder: Path | None = None,
        dtype: torch.dtype | None = None,
        required: bool = False,
    ) -> None:
        """Nothing is computed or reserved yet.

        Args:
            blocks: of the model, in the order in which they run.
            lengths: tokens of every record; of a pair of texts, of both.
            folder: where a file goes when memory does not suffice; None: where the system keeps temporary files.
            dtype: that the hidden states are kept in; None: their own, which loses nothing.
            required: raise where it cannot be exact, instead of computing everything.
        """
        self.blocks = list(blocks)
        self.lengths = list(lengths)
        self.folder = folder
        self.dtype = dtype
        self.required = required
        self.cached_blocks = 0
        self.reason = ""
        self._tried = False
        self._forms: list[int] = []
        """How many values each block gives; 0 for a tensor alone."""
        self._computed, self._width = torch.float32, 0
        """Number format and width of what the blocks give."""
        self._states: HiddenStates | None = None

    @contextmanager
    def step(
        self, rows: list[int], mask: Tensor, compute: Callable[[], Tensor], batch_of: Callable[[list[int]], Batch]
    ) -> Iterator[None]:
        """Let the model read what is known of these records, or keep what it computes.

        Args:
            rows: numbers of the records of the batch.
            mask: its attention mask `(…, T)`, the records in the same order.
            compute: the loss of the batch, to be tried on the first one.
            batch_of: makes another batch, to be tried likewise.

        Raises:
            LightAdaptError: the cache is required and cannot be exact, or there is no room for it.
        """
        if not self._tried:
            self._tried = True
            self._try(rows, mask, compute, batch_of)
        if self._states is None:
            yield
        elif self._states.hold(rows):
            with self._reading(self._states.read(rows, mask).to(self._computed)):
                yield
        else:
            with self._keeping() as kept:
                yield
            self._states.write(rows, mask, kept["hidden"])

    def close(self) -> None:
        """Free the memory, or the file."""
        if self._states is not None:
            self._states.close()
        self._states = None

    # ---- what can be read

    def _try(
        self, rows: list[int], mask: Tensor, compute: Callable[[], Tensor], batch_of: Callable[[list[int]], Batch]
    ) -> None:
        with torch.random.fork_rng(devices=[mask.device] if mask.device.type == "cuda" else []):
            try:
                self.reason = self._find(rows, mask, compute) or self._mix(batch_of)
                if not self.reason:
                    self._states = HiddenStates(self.lengths, self._width, self.dtype or self._computed, self.folder)
            except LightAdaptError as error:
                self.reason = str(error)
            except Exception as error:  # whatever a model makes of blocks that compute nothing; a step shows its own
                self.reason = f"Trying it failed ({type(error).__name__}: {error})."
        if self.reason:
            self.cached_blocks = 0
            if self.required:
                raise LightAdaptError(f"cache: {self.reason} Write cache=False, or leave cache out.")

    def _find(self, rows: list[int], mask: Tensor, compute: Callable[[], Tensor]) -> str:
        """Choose the blocks that are read; why there are none, or "" when there are some."""
        with watching(self.blocks) as seen:
            compute()
        if [number for number, _ in seen] != list(range(len(self.blocks))):
            return "The model does not run its blocks one after the other, each once."
        outputs = [output for _, output in seen]
        depends = [hidden_of(output).requires_grad for output in outputs]
        self.cached_blocks = depends.index(True) if True in depends else len(depends)
        if not self.cached_blocks:
            return (
                "Every hidden state changes with each step, because what is trained begins at the first block. Adapt "
                "the upper ones only: adapt(…, layers='last:2')."
            )
        if any(map(hands_on_more, outputs)):
            return "The blocks hand on more than hidden states."
        if any(hidden_of(output).shape[:-1] != _shape(mask) for output in outputs[: self.cached_blocks]):
            return "The blocks do not give one hidden state for each token."
        if any(count > self.lengths[row] for row, count in zip(rows, real_tokens(rows, mask), strict=True)):
            return "The records are longer in a batch than in the data."
        self._forms = [form_of(output) for output in outputs]
        last = hidden_of(outputs[self.cached_blocks - 1])
        self._computed, self._width = last.dtype, last.shape[-1]
        return self._compare(mask, compute)

    def _compare(self, mask: Tensor, compute: Callable[[], Tensor]) -> str:
        """Why the loss from hidden states that are read is not that from computed ones; "" when it is."""
        losses, hidden = [], []
        for seed in (0, 1):  # what is kept must not depend on chance
            with torch.no_grad(), self._keeping() as kept:
                torch.manual_seed(seed)
                losses.append(compute())
            hidden.append(kept["hidden"])
        if not _is_close(hidden[0], hidden[1]):
            return "The frozen blocks give other hidden states each time."
        real = mask.reshape(hidden[0].shape[:-1]).bool()
        with torch.no_grad(), self._reading(torch.where(real[..., None], hidden[0], 0)):
            torch.manual_seed(0)
            read = compute()
        if not _is_close(losses[0], read):
            return "The model needs more of the lower blocks than their hidden states."
        return ""

    def _mix(self, batch_of: Callable[[list[int]], Batch]) -> str:
        """Why a record has other hidden states beside others, "" when it has the same: the shortest, and the longest.

        Some models read padding like text (FNet, ConvBERT), which the first batch does not show when it has none.
        """
        short, long = (self.lengths.index(most(self.lengths)) for most in (min, max))
        if self.lengths[short] == self.lengths[long]:
            return ""
        found: list[Tensor] = []
        for rows in ([short], [short, long]):
            mask, compute = batch_of(rows)
            with torch.no_grad(), self._keeping() as kept:
                compute()
            if kept["hidden"].shape[:-1] != _shape(mask):
                return "The blocks do not give one hidden state for each token."
            real = kept["hidden"][mask.reshape(_shape(mask)).bool()]
            found.append(real[: real_tokens(rows, mask)[0]])
        alone, beside = found
        if not _is_close(alone, beside, ROUGH if self._is_rough(mask.device.type) else TOLERANCE):
            return "The hidden states of a record change with what is beside it in a batch."
        return ""

    def _is_rough(self, device: str) -> bool:
        """Whether the blocks compute with fewer than 32 bits."""
        weights = (each for block in self.blocks for each in block.parameters())
        return torch.is_autocast_enabled(device) or any(each.dtype != torch.float32 for each in weights)

    # ---- what the blocks do meanwhile

    @contextmanager
    def _keeping(self) -> Iterator[dict[str, Tensor]]:
        """What the last of the frozen blocks gives, under `hidden`."""
        kept: dict[str, Tensor] = {}
        last = self.blocks[self.cached_blocks - 1]
        handle = last.register_forward_hook(lambda _, args, output: kept.update(hidden=hidden_of(output).detach()))
        try:
            yield kept
        finally:
            handle.remove()

    def _reading(self, hidden: Tensor) -> AbstractContextManager[None]:
        """Let the frozen blocks give what they are given, and the last of them these hidden states."""
        count = self.cached_blocks
        return standing_in(self.blocks[:count], self._forms[:count], hidden)


def _shape(mask: Tensor) -> tuple[int, int]:
    """Number and length of the sequences of a batch."""
    return mask.numel() // mask.shape[-1], mask.shape[-1]


def _is_close(one: Tensor, other: Tensor, within: float = TOLERANCE) -> bool:
    return float((one - other).abs().max()) <= within * float(one.abs().max())
