"""Cells, tried one by one: what passes, is refused or fails, and how long each takes."""

from __future__ import annotations

import signal
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
import zoo

from cells.case import Case, CheckError, RefusalError
from lightadapt.experiments.kept import write_json
from lightadapt.experiments.machine import versions

SECONDS = 60
"""That a cell may take."""
LeftOut = tuple[str, str, str, str]
"""Type, task, check and reason."""


@dataclass(frozen=True)
class Cell:
    """How one method did on one task of one model type."""

    model_type: str
    task: str
    method: str
    column: str
    """`"lightadapt"`, `"peft"`, or the form of quantization that lightadapt was tried with."""
    status: str
    """`"pass"`, `"refused"` or `"fail"`."""
    reason: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Cells that start from the same case."""

    make: Callable[[str, str], Case]
    """The case of a model type and task."""
    left_out: Callable[[Case], dict[str, str]]
    """The checks that the bare model does not stand, with the reason."""
    checks: Mapping[str, Callable[[Case, str], None]]
    """By column: runs a method through all checks."""
    columns: Sequence[tuple[str, str]]
    """Method and column of each cell."""
    note: str = ""
    """Stands behind the names of checks that are left out."""


@dataclass
class Results:
    """All cells of a run, and what was left out of it."""

    cells: list[Cell] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    seconds: float = 0.0

    def of(self, method: str, column: str = "lightadapt") -> list[Cell]:
        """The cells of a method."""
        return [cell for cell in self.cells if (cell.method, cell.column) == (method, column)]

    @property
    def methods(self) -> list[str]:
        """The methods in the order in which they ran."""
        return list(dict.fromkeys(cell.method for cell in self.cells))

    @property
    def types(self) -> list[str]:
        """The model types in the order in which they ran."""
        return list(dict.fromkeys(cell.model_type for cell in self.cells))

    def save(self, file: Path) -> None:
        """Write all of it as JSON."""
        content = {"versions": versions(), "seconds": round(self.seconds), "left_out": self.left_out}
        content["cells"] = [asdict(cell) for cell in self.cells]
        write_json(file, content)


# ---- runs


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise `CheckError` inside the block when it takes longer."""

    def stop(*_: Any) -> None:
        raise CheckError("timeout")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def describe(error: Exception) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return (text if isinstance(error, (CheckError, RefusalError)) else f"{type(error).__name__}: {text}")[:300]


def run_cell(case: Case, method: str, column: str, check: Callable[[Case, str], None]) -> Cell:
    """How the method does on the case."""
    status, reason, start = "pass", "", time.perf_counter()
    try:
        with time_limit(SECONDS):
            check(case, method)
    except RefusalError as error:
        status, reason = "refused", describe(error)
    except Exception as error:  # what an architecture or PEFT raises is the result
        status, reason = "fail", describe(error)
    seconds = round(time.perf_counter() - start, 3)
    return Cell(case.model_type, case.task, method, column, status, reason, seconds)


def run_type(model_type: str, tasks: Collection[str], kinds: Sequence[Kind]) -> tuple[list[Cell], list[LeftOut]]:
    """All cells of a model type, and the checks that were left out."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    cells: list[Cell] = []
    left_out: list[LeftOut] = []
    for task in zoo.tasks_of(model_type):
        for kind in kinds if task in tasks else ():
            try:
                with time_limit(SECONDS):
                    case = kind.make(model_type, task)
                case.left_out = kind.left_out(case)
            except Exception as error:  # an architecture may raise anything
                reason = f"the bare model: {describe(error)}"
                cells += [Cell(model_type, task, *column, "fail", reason, 0.0) for column in kind.columns]
                continue
            cells += [run_cell(case, method, column, kind.checks[column]) for method, column in kind.columns]
            left_out += [(model_type, task, name + kind.note, reason) for name, reason in case.left_out.items()]
    for cell in cells:
        if cell.status != "pass":
            print(cell.status, cell.column, cell.model_type, cell.task, cell.method, cell.reason, flush=True)
    return cells, left_out


def run_types(
    one: Callable[[str], tuple[list[Cell], list[LeftOut]]], types: Sequence[str], *, jobs: int, file: Path | None
) -> Results:
    """The results of all these types, each from `one`; written to the file type by type."""
    results, start = Results(), time.perf_counter()
    with ProcessPoolExecutor(jobs) as pool:
        each = map if jobs == 1 else pool.map
        for cells, skipped in each(one, types):
            results.cells += cells
            results.left_out += skipped
            results.seconds = time.perf_counter() - start
            if file:
                results.save(file)
    return results
