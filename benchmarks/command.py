"""The command line that benchmarks have in common, the file of what was measured, and the page that tells of it."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measuring import Side, take_turns
from transformers.utils import logging

from lightadapt.experiments.apart import call_apart
from lightadapt.experiments.kept import Kept, write_json
from lightadapt.experiments.machine import describe_machine

DOCS = Path(__file__).parent.parent / "docs"
COMMON: dict[str, tuple[type, str]] = {
    "data": (Path, "folder of the data sets"),
    "only": (str, "names with commas between; default: %(default)s"),
    "methods": (str, "names with commas between; default: %(default)s"),
    "model": (str, "folder of another encoder"),
    "steps": (int, "steps of the optimizer"),
    "tokens": (int, "tokens of a step"),
    "rounds": (int, "runs of each kind"),
    "threads": (int, "cores that a run computes on"),
    "jobs": (int, "processes"),
    "json": (Path, "file for what was measured"),
}
"""Options of several benchmarks: the type, and what they are for."""


def command(description: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """A parser with the options of `COMMON` that are named, with these defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in defaults.items():
        kind, meaning = COMMON[name]
        parser.add_argument(f"--{name}", type=kind, default=default, help=meaning)
    return parser


def names_of(parser: argparse.ArgumentParser, text: str, known: Iterable[str]) -> list[str]:
    """The names in a text with commas; one that is not known ends the program."""
    names, known = text.split(","), list(known)
    unknown = sorted({name for name in names if name not in known})
    if unknown:
        parser.error(f"{', '.join(unknown)} is unknown; known: {', '.join(known)}")
    return names


def lacks(folder: Path | None, files: Iterable[str]) -> bool:
    """Whether the folder lacks one of these files; if so, that is said."""
    missing = [file for file in files if folder is None or not (folder / file).is_file()]
    if missing:
        print(f"skipped: {folder} does not hold {missing[0]} (see --help)")
    return bool(missing)


def set_up(threads: int) -> None:
    """Compute on so many cores, without warnings and progress bars between the lines of a table."""
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def run_sides(
    function: Callable[..., Any], sides: Mapping[Side, Mapping[str, Any]], rounds: int, **how: Any
) -> dict[Side, list[Any]]:
    """What a function gives for the arguments of each side, in each round; every call is a process of its own.

    `how` are options of `call_apart`.
    """
    return take_turns({side: partial(call_apart, function, given, **how) for side, given in sides.items()}, rounds)


def run_missing(kept: Kept, kinds: Iterable[Sequence[Any]], measure: Callable[..., Mapping[str, Any]]) -> None:
    """Measure each kind of run that is not kept yet, keep it, and say what came of it."""
    for kind in kinds:
        if tuple(kind) not in kept:
            facts = measure(*kind)
            kept.add({**dict(zip(kept.by, kind, strict=True)), **facts})
            print(*kind, {name: value for name, value in facts.items() if name != "versions"}, flush=True)


def keep(file: Path | None, facts: Mapping[str, Any], *, device: str = "cpu") -> None:
    """Write what was measured, with the machine, when there is a file for it."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {"machine": describe_machine(device), **facts})


def renew(page: str, name: str, text: str) -> None:
    """Put a text into a page of the documentation, below `<!-- name -->`, up to `<!-- end of name -->` or the end."""
    file, mark, end = DOCS / page, f"<!-- {name} -->", f"<!-- end of {name} -->"
    found = file.read_text(encoding="utf-8")
    below = rf"{re.escape(mark)}.*?(?={re.escape(end)})" if end in found else rf"{re.escape(mark)}.*"
    new = f"{mark}\n\n{text}\n" + ("\n" if end in found else "")
    file.write_text(re.sub(below, lambda _: new, found, flags=re.DOTALL), encoding="utf-8")


def between(page: str, name: str) -> str:
    """What stands in a page between these two marks."""
    found = (DOCS / page).read_text(encoding="utf-8")
    return found.partition(f"<!-- {name} -->")[2].partition(f"<!-- end of {name} -->")[0].strip("\n")
