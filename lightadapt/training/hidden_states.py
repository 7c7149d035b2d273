"""Hidden states of the records of a run, one after the other: in memory, or in a file where that does not suffice."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from lightadapt.errors import LightAdaptError
from lightadapt.machine.hardware import free_memory

SHARE = 0.25
"""The share of the free memory that they take at most; beyond that they are in a file."""


class HiddenStates:
    """Room for one hidden state a token, filled in any order of the records."""

    def __init__(self, lengths: Sequence[int], width: int, dtype: torch.dtype, folder: Path | None = None) -> None:
        """Make the room.

        Args:
            lengths: tokens of every record.
            width: values of a hidden state.
            dtype: that they are kept in.
            folder: where a file goes; None: where the system keeps temporary files.

        Raises:
            LightAdaptError: there is no room, neither in memory nor in the folder.
        """
        self._places: dict[int, tuple[int, int]] = {}
        """Where the hidden states of a record begin, and end."""
        self._filled = 0
        self._file: Path | None = None
        shape = (sum(lengths), width)
        size = shape[0] * shape[1] * dtype.itemsize
        if size <= SHARE * free_memory(torch.device("cpu")):
            self._states = torch.empty(shape, dtype=dtype)
            return
        folder = folder or Path(tempfile.gettempdir())
        free = shutil.disk_usage(folder).free
        if size > free / 2:
            raise LightAdaptError(
                f"The hidden states take {size / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB free."
            )
        with tempfile.NamedTemporaryFile(dir=folder, prefix="lightadapt-trunk-", delete=False) as file:
            self._file = Path(file.name)
        self._states = torch.from_file(str(self._file), shared=True, size=shape[0] * shape[1], dtype=dtype).view(shape)
        self.close()

    def close(self) -> None:
        """Take the file out of its folder; what is mapped stays there, and is gone with this process at the latest."""
        if self._file is not None:
            with suppress(OSError):  # Windows removes no file that is open
                self._file.unlink(missing_ok=True)

    def hold(self, rows: Iterable[int]) -> bool:
        """Whether those of all these records are there."""
        return self._places.keys() >= set(rows)

    def read(self, rows: Sequence[int], mask: Tensor) -> Tensor:
        """Those of a batch `(B, T, width)`, zeros where there is padding.

        Args:
            rows: numbers of its records.
            mask: its attention mask `(…, T)`, the records in the same order.
        """
        real = torch.cat([self._states[slice(*self._places[row])] for row in rows])
        mask = mask.reshape(-1, mask.shape[-1]).bool()
        padded = torch.zeros(*mask.shape, real.shape[-1], dtype=real.dtype, device=mask.device)
        padded[mask] = real.to(mask.device)
        return padded

    def write(self, rows: Sequence[int], mask: Tensor, hidden: Tensor) -> None:
        """Keep those of a batch; the arguments are those of `read`, and what it gives."""
        real = hidden[mask.reshape(hidden.shape[:2]).bool()].to("cpu", self._states.dtype)
        for row, part in zip(rows, torch.split(real, real_tokens(rows, mask)), strict=True):
            start, end = self._places.setdefault(row, (self._filled, self._filled + len(part)))
            self._states[start:end] = part
            self._filled = max(self._filled, end)


def real_tokens(rows: Sequence[int], mask: Tensor) -> list[int]:
    """Real tokens of each record of a batch; one may be several sequences."""
    counts: list[int] = mask.reshape(len(rows), -1).sum(-1).tolist()
    return counts
