"""The tables of docs/quantization.md, each from its rows of results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from data_sets import points

from lightadapt.base.memory import as_size
from lightadapt.experiments.markdown import as_table

Rows = list[dict[str, Any]]


def formats_of(rows: Rows) -> list[str]:
    """The formats in the order in which they were measured."""
    return list(dict.fromkeys(row["format"] for row in rows))


def grouped(rows: Rows, by: Iterable[str]) -> list[dict[str, dict[str, Any]]]:
    """The rows with the same values of these columns, by their formats."""
    groups: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in by), {})[row["format"]] = row
    return list(groups.values())


def score_table(rows: Rows) -> str:
    """A line for each data set, model and method; the formats beside each other."""
    formats, lines = formats_of(rows), []
    for found in grouped(rows, ("data", "method")):
        some = next(iter(found.values()))
        cells = [f"{points(found[each], some['metric']):.1f}" if each in found else "–" for each in formats]
        size = [f"{some['train']:,}", f"{some['test']:,}", some["epochs"]]
        lines.append([some["title"], some["model"], some["method"], *cells, *size])
    return as_table(["score", "model", "method", *formats, "train", "test", "epochs"], lines)


def transfer_table(rows: Rows) -> str:
    """A line for each format that was trained on; those that it was loaded on beside each other."""
    loaded = list(rows[0]["scores"])
    lines = [[row["format"], *(f"{100 * row['scores'][each]:.1f}" for each in loaded)] for row in rows]
    return as_table(["trained on", f"loaded on {loaded[0]}", *loaded[1:]], lines)


def memory_table(rows: Rows) -> str:
    """The base, and the peak as it was measured and estimated."""
    lines = [
        [
            row["model"],
            row["method"],
            row["format"],
            " + ".join(f"{as_size(size)} {kind}" for kind, size in row["base"].items()),
            as_size(row["peak"]),
            as_size(row["estimate"]),
            f"{row['estimate'] / row['peak']:.2f}",
        ]
        for found in grouped(rows, ("data", "method"))
        for row in found.values()
    ]
    return as_table(["model", "method", "format", "base", "peak, measured", "estimated", "ratio"], lines)


def speed_table(rows: Rows) -> str:
    """Steps in milliseconds, and how many times those in float32 they take."""
    formats, lines = formats_of(rows), []
    for found in grouped(rows, ("method",)):
        times = {each: row["milliseconds"] for each, row in found.items()}
        cells = [f"{times[each]:,.0f} ({times[each] / times['float32']:.2f})" for each in formats]
        lines.append([next(iter(found.values()))["method"], *cells])
    return as_table(["ms a step (× float32)", *formats], lines)


def llama_table(rows: Rows) -> str:
    """The bytes of a block and of the whole."""
    lines = [
        [
            row["format"],
            as_size(row["block_bytes"]),
            f"{8 * row['block_bytes'] / row['block_values']:.3f}",
            as_size(row["base"]),
            as_size(row["peak"]),
        ]
        for row in rows
    ]
    return as_table(["format", "a block's projections", "bits a value", "the whole base", "peak with LoRA"], lines)


TABLES: dict[str, Callable[[Rows], str]] = {
    "scores": score_table,
    "transfer": transfer_table,
    "memory": memory_table,
    "speed": speed_table,
    "llama": llama_table,
}
"""By the mark in the page that each stands below."""
