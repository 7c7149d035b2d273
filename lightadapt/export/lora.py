"""A stock LoRA, from any method that changes weights, for tools that read LoRA and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lightadapt.adaptation.runner import Runner
from lightadapt.export.format import Format, computes_exactly
from lightadapt.export.plain_lora import choose_rank, prove_lora, updates_of, write_lora
from lightadapt.export.proof import Found, Prover
from lightadapt.numbers import check_number, check_whole

EXACT = 1e-4
"""The share that may be left out of an update for its outputs to count as the same."""


@dataclass(frozen=True, kw_only=True)
class Lora(Format):
    """The folder of a plain LoRA with one rank, its scale in the products; a head and what else is trained is beside.

    What a method adds to a weight is cut to the rank that keeps enough of it.
    """

    name: ClassVar[str] = "lora"

    max_rank: int = 256
    """The highest rank."""
    max_error: float = 0.01
    """How much of the updates may be left out, as |left out| / |all|, Euclidean norms."""

    def __post_init__(self) -> None:
        check_whole("max_rank", self.max_rank)
        check_number("max_error", self.max_error, least=0, below=1)

    def write(self, runner: Runner, folder: Path) -> Sequence[str]:
        updates = updates_of(runner, self.name)
        exact = max((each.exact.rank for each in updates.values() if each.exact is not None), default=0)
        ranks = range(max(1, exact), max(self.max_rank, exact) + 1)
        rank, error = choose_rank(updates, ranks, self.max_error, self.name)
        write_lora(runner, folder, updates, rank)
        return [f"Rank {rank}, which leaves out {error:.2%} of the updates."]

    def prove(self, runner: Runner, folder: Path, prover: Prover) -> Found:
        return prove_lora(runner, folder, prover)

    def tolerance(self, runner: Runner) -> float | None:
        return None if self.max_error > EXACT or not computes_exactly(runner) else 1e-3
