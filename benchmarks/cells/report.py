"""What the pages tell of the cells."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable

from cells.case import TASKS
from cells.runs import Cell, Results
from lightadapt.experiments.machine import versions
from lightadapt.experiments.markdown import as_table


def count(cells: Iterable[Cell]) -> list[object]:
    """How many cells there are, how many pass and are refused, with their shares, and how many fail."""
    found = Counter(cell.status for cell in cells)
    total = found.total()
    passed, refused = (f"{found[status]} ({found[status] / (total or 1):.1%})" for status in ("pass", "refused"))
    return [total, passed, refused, found["fail"]]


def extent(results: Results, *packages: str) -> str:
    """How much was tried, with which versions."""
    cases = len({(cell.model_type, cell.task) for cell in results.cells})
    said = ", ".join(f"{name} {number}" for name, number in versions(*packages).items())
    return f"{len(results.types)} model types, {cases} combinations of type and task; {said}"


def grouped(cells: Iterable[Cell], most: int | None = None) -> list[str]:
    """The cells by reason, the most frequent first, with an example of the reason, the methods and the types."""
    groups: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[_kind(cell.reason)].append(cell)
    ordered = sorted(groups.values(), key=len, reverse=True)
    lines = []
    for group in ordered[:most]:
        methods = ", ".join(f"`{method}`" for method in dict.fromkeys(cell.method for cell in group))
        places = "" if most else f"  \n  {_places(group)}"
        lines.append(f"- {len(group)} × {methods}: {_as_text(group[0].reason)}{places}")
    if ordered[most:] if most else ():
        lines.append(f"- {sum(map(len, ordered[most:]))} for {len(ordered[most:])} other reasons")
    return lines or ["None."]


def _kind(reason: str) -> str:
    """A reason without what differs from model to model: paths of modules, names of classes, numbers, quotations."""
    return re.sub(r"'[^']*'|\b\w*(\.\w+)+\b|\b\w+For[A-Z]\w+|\b[A-Z]\w+Model\b|\b[\d.]+(e-?\d+)?\b", "…", reason)


def _as_text(reason: str) -> str:
    """A reason in which Markdown finds nothing to format."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", reason)


def _places(cells: Iterable[Cell]) -> str:
    """The types and letters of the tasks of these cells."""
    letters: dict[str, list[str]] = defaultdict(list)
    for cell in cells:
        if TASKS[cell.task][0] not in letters[cell.model_type]:
            letters[cell.model_type].append(TASKS[cell.task][0])
    return ", ".join(f"{model_type} {''.join(found)}" for model_type, found in letters.items())


def by_type(results: Results) -> str:
    """One row for each type: the tasks it has, and those in which a method passes."""
    every, passed = defaultdict(str), defaultdict(str)
    for cell in results.cells:
        if cell.column == "lightadapt":
            every[cell.model_type, cell.method] += TASKS[cell.task][0]
            passed[cell.model_type, cell.method] += TASKS[cell.task][0] if cell.status == "pass" else ""
    first, methods = results.methods[0], results.methods
    rows = [
        (model_type, every[model_type, first], *(passed[model_type, method] or "–" for method in methods))
        for model_type in results.types
    ]
    return as_table(["type", "tasks", *(f"`{method}`" for method in methods)], rows)


def left_out(results: Results) -> list[str]:
    """For each check the types that it was left out for; `None.` when there is none."""
    places: dict[str, dict[str, str]] = defaultdict(lambda: defaultdict(str))
    for model_type, task, name, _ in results.left_out:
        places[name][model_type] += TASKS[task][0]
    return [
        f"- {name}, {len(types)} types: " + ", ".join(f"{model_type} {tasks}" for model_type, tasks in types.items())
        for name, types in places.items()
    ] or ["None."]
