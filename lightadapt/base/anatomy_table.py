"""The blocks of a model, written out for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightadapt.anatomy import Anatomy, Block


def describe_blocks(anatomy: Anatomy) -> list[str]:
    """The blocks by kind: those of one stack whose parts have the same names and widths."""
    lines = []
    for stack in anatomy.stacks:
        blocks = [block for block in anatomy.blocks if block.stack == stack]
        kinds: dict[tuple[Any, ...], list[Block]] = {}
        for block in blocks:
            kinds.setdefault(tuple(_describe_block(block, anatomy)), []).append(block)
        lines += ["", f"{stack}: {len(blocks)} {'block' if len(blocks) == 1 else 'blocks'}, width {blocks[0].width}"]
        for rows, same in kinds.items():
            if len(kinds) > 1:
                lines.append(f"  blocks {_ranges([anatomy.blocks.index(block) for block in same])}")
            lines += [f"    {row}" for row in rows]
    return lines


def _describe_block(block: Block, anatomy: Anatomy) -> list[str]:
    rows = []
    for attention in block.attentions:
        kind = "cross-attention" if attention.across else "attention"
        seen = attention.key_values
        rows.append(f"{kind:<16} {_short(attention.path, block)}" + (f", {seen.heads} heads of keys" if seen else ""))
        for role in ("query", "key", "value", "fused", "output", "other"):
            rows += _projections(role, getattr(attention, role), block, anatomy)
    for part in block.feed_forwards:
        rows.append(f"{'experts' if part.mixture else 'feed-forward':<16} {_short(part.path or '', block)}".rstrip())
        for role in ("up", "down", "other", "gates"):
            rows += _projections(role, getattr(part, role), block, anatomy)
        rows += [f"  {'experts':<14} {_short(name, block)} {anatomy.parameters[name]}" for name in part.experts]
    if block.norms:
        rows.append(f"{'norms':<16} {', '.join(_short(path, block) for path in block.norms)}")
    return rows


def _projections(role: str, paths: Sequence[str], block: Block, anatomy: Anatomy) -> list[str]:
    shown = [f"{_short(path, block)} ({' -> '.join(map(str, anatomy.linears[path]))})" for path in paths]
    return [f"  {role:<14} {', '.join(shown)}"] if shown else []


def _short(path: str, block: Block) -> str:
    around = next((each for each in block.paths if path.startswith(f"{each}.")), None)
    return path if around is None else path.removeprefix(f"{around}.")


def _ranges(numbers: Sequence[int]) -> str:
    """The numbers with runs written as `0-5`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
