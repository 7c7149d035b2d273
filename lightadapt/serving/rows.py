"""The keys and values of texts that are written together, a row each; rows come and go between two tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

SLACK = 32
"""Columns for tokens to come when the rows are laid out anew; of long rows an eighth of their length."""

Layers = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of each layer: (rows, heads, columns, width)."""


@dataclass(frozen=True)
class Part:
    """Rows to be laid out, aligned at their ends.

    Attributes:
        layers: where they are, among others.
        places: which rows of `layers` they are.
        lengths: the tokens of each.
    """

    layers: Layers
    places: Sequence[int]
    lengths: Sequence[int]


def plain_layers(cache: Any, columns: int) -> list[tuple[torch.Tensor, torch.Tensor]] | None:
    """The keys and values in a cache that holds those of so many tokens and nothing else; None for any other.

    Layers that slide over the last tokens, that keep a state, or that put tokens of their own in front are others.
    """
    layers = cache.layers
    plain = all(type(layer) is DynamicLayer and layer.is_initialized for layer in layers)
    if not layers or not plain or any(layer.get_seq_length() != columns for layer in layers):
        return None
    return [(layer.keys, layer.values) for layer in layers]


class Rows:
    """Rows that end in the same column, so that the next token of each goes into the same place of all tensors.

    A row that is shorter than the longest has empty columns in front, which the mask leaves out. The tensors have
    columns to spare: a step writes into them, where transformers' cache copies all that is there for each token.
    """

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._layers: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._start = self._end = 0

    def part(self, places: Sequence[int]) -> Part:
        """Some of the rows that are here."""
        window = slice(self._start, self._end)
        layers = [(keys[:, :, window], values[:, :, window]) for keys, values in self._layers]
        return Part(layers, places, [self.lengths[place] for place in places])

    def lay_out(self, parts: Sequence[Part], order: Sequence[int]) -> None:
        """Hold these rows and no others from now on, as narrow as the longest of them allows.

        Args:
            order: the new place of each row of the parts, one after the other.
        """
        lengths = [length for part in parts for length in part.lengths]
        columns = max(lengths, default=0)
        if not lengths:
            self.lengths, self._layers, self._start, self._end = [], [], 0, 0
            return
        room = columns + max(SLACK, columns // 8)
        found: list[tuple[torch.Tensor, torch.Tensor]] = []
        for number in range(len(parts[0].layers)):
            sources = [part.layers[number] for part in parts]
            keys = _laid_out([source[0] for source in sources], parts, order, columns, room)
            values = _laid_out([source[1] for source in sources], parts, order, columns, room)
            found.append((keys, values))
        self._layers, self._start, self._end = found, 0, columns
        self.lengths = [0] * len(lengths)
        for place, length in zip(order, lengths, strict=True):
            self.lengths[place] = length

    def make_room(self) -> None:
        """See that there is a column for the next token of each row."""
        if self._layers and self._end == self._layers[0][0].shape[2]:
            places = range(len(self.lengths))
            self.lay_out([self.part(places)], places)

    def cache(self, rows: slice) -> DynamicCache:
        """Some of the rows as a model reads them and writes their next token; only `advance` makes that one count."""
        cache = DynamicCache()
        cache.layers = [_Window(keys[rows], values[rows], self._start, self._end) for keys, values in self._layers]
        return cache

    def mask(self, rows: slice, device: torch.device) -> torch.Tensor:
        """1 where there is a token of a row or its next one, 0 before: (rows, columns + 1)."""
        columns = self._end - self._start
        return mask_of([length + 1 for length in self.lengths[rows]], columns + 1, device)

    def advance(self) -> None:
        """Count the token that was written into each row."""
        self._end += 1
        self.lengths = [length + 1 for length in self.lengths]


def mask_of(lengths: Sequence[int], columns: int, device: torch.device) -> torch.Tensor:
    """1 in the last columns of each row, as many as it is long, and 0 before: (rows, columns)."""
    first = columns - torch.tensor(lengths, device=device)
    return (torch.arange(columns, device=device) >= first[:, None]).long()


def _laid_out(
    sources: Sequence[torch.Tensor], parts: Sequence[Part], order: Sequence[int], columns: int, room: int
) -> torch.Tensor:
    """One tensor with the rows of all sources, empty where no row has a token."""
    first = sources[0]
    found = first.new_zeros((len(order), first.shape[1], room, first.shape[3]))
    begin = 0
    for source, part in zip(sources, parts, strict=True):
        if not part.places:
            continue
        width = min(source.shape[2], columns)
        rows = source[:, :, source.shape[2] - width :][list(part.places)]
        mask = mask_of([min(length, width) for length in part.lengths], width, source.device)
        rows.masked_fill_(mask[:, None, :, None] == 0, 0)  # an odd number there would reach the row in spite of a mask
        found[list(order[begin : begin + len(part.places)]), :, columns - width : columns] = rows
        begin += len(part.places)
    return found


class _Window(DynamicLayer):
    """Some rows of the tensors of one layer, up to a column; what is added goes into the columns behind it."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, start: int, end: int) -> None:
        super().__init__()
        self._all, self._start, self._end = (keys, values), start, end
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._show()

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        begin, self._end = self._end, self._end + key_states.shape[-2]
        for tensor, new in zip(self._all, (key_states, value_states), strict=True):
            tensor[:, :, begin : self._end] = new
        self._show()
        return self.keys, self.values

    def _show(self) -> None:
        self.keys, self.values = (tensor[:, :, self._start : self._end] for tensor in self._all)
