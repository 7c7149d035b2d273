"""Rows of keys and values: whoever comes and goes, each keeps its own."""

from __future__ import annotations

import random

import torch

from lightadapt.serving.rows import Part, Rows, mask_of


def test_rows_come_and_go_and_keep_what_is_theirs():
    """A row is a list of numbers here, which stand in one layer of one head."""
    draw, rows, held, drawn = random.Random(3), Rows(), [], 0
    for _ in range(200):
        kept = [place for place in range(len(held)) if draw.random() < 0.9]
        fresh = [[drawn + number + 1 for number in range(draw.randint(1, 9))] for _ in range(draw.randint(0, 2))]
        drawn += 9
        columns = max(map(len, fresh), default=0)
        tensor = (
            torch.tensor([[-1] * (columns - len(row)) + row for row in fresh])
            .float()
            .reshape(len(fresh), 1, columns, 1)
        )
        order = draw.sample(range(len(kept) + len(fresh)), len(kept) + len(fresh))
        parts = [rows.part(kept)] if rows.lengths else []
        if fresh:
            parts.append(Part([(tensor, tensor)], range(len(fresh)), [len(row) for row in fresh]))
        rows.lay_out(parts, order)
        together = [*(held[place] for place in kept), *fresh]
        held = [row for _, row in sorted(zip(order, together, strict=True))]
        if not held:
            continue
        rows.make_room()
        new = torch.full((len(held), 1, 1, 1), float(drawn))
        keys, _ = rows.cache(slice(None)).update(new, new, 0)
        rows.advance()
        held = [[*row, drawn] for row in held]
        columns = max(map(len, held))
        assert keys[:, 0, :, 0].tolist() == [[0.0] * (columns - len(row)) + row for row in held]
        assert mask_of(rows.lengths, columns, keys.device).sum(-1).tolist() == [len(row) for row in held]
