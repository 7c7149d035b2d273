"""Several adapters in one forward pass, each on rows of its own.

The frozen weights are gone through once for all rows. What adapters add is computed by groups of rows: LoRA on plain
layers in a few products for all groups (as in Punica, Chen et al. 2023, and S-LoRA, Sheng et al. 2023), everything else
by one call of its layer a group. Nothing of this is there outside the `with` block, so that what is trained or compiled
never meets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from lightadapt.anatomy.forwards import put_forward
from lightadapt.errors import LightAdaptError
from lightadapt.peft_bridge.grouped import add_updates
from lightadapt.peft_bridge.layers import holds, layers_in
from lightadapt.peft_bridge.lean_lora import product_of
from lightadapt.peft_bridge.stacks import HeldLayer, Stacks

Group: TypeAlias = "tuple[str, int]"
"""The name of an adapter, and for how many rows it computes."""


class NotMixedError(LightAdaptError):
    """A layer is not given one row after the other, so that its rows cannot be told apart."""


@dataclass
class Mixing:
    """Which adapter computes which rows of the batch that is computed now.

    Attributes:
        groups: one after the other.
        tokens: the length of each row, of which a layer may be given one.
    """

    groups: Sequence[Group]
    tokens: int | None
    _owners: dict[tuple[tuple[str, ...], torch.device], Tensor | None] = field(default_factory=dict, init=False)

    @property
    def rows(self) -> int:
        """Of all groups together."""
        return sum(rows for _, rows in self.groups)

    def by_row(self, x: Tensor) -> Tensor:
        """What a layer is given or gives, with the rows as its first dimension: `(rows, …)`, also of `(rows · T, …)`.

        Raises:
            NotMixedError: it is neither.
        """
        rows = self.rows
        if x.dim() and x.shape[0] == rows and (x.dim() < 3 or self.tokens is None or x.shape[1] in (1, self.tokens)):
            return x
        if x.dim() == 2 and self.tokens is not None and x.shape[0] == rows * self.tokens:
            return x.view(rows, self.tokens, x.shape[1])
        raise NotMixedError(f"A layer computes a tensor of the shape {tuple(x.shape)} for {rows} rows.")

    def owners(self, names: tuple[str, ...], device: torch.device) -> Tensor | None:
        """For each row the place of its adapter among some names, `(rows,)`; behind the last where it is none of them.

        Layers that hold the same adapters have it in common. None: each row has the adapter of its own place.
        """
        if (names, device) not in self._owners:
            places = {name: place for place, name in enumerate(names)}
            each = [place for name, rows in self.groups for place in [places.get(name, len(names))] * rows]
            own = each == list(range(len(each)))
            self._owners[names, device] = None if own else torch.tensor(each, device=device)
        return self._owners[names, device]

    @contextmanager
    def narrowed(self, group: Group) -> Iterator[None]:
        """One group alone, for what is computed inside a `with` block."""
        before = self.groups, self._owners
        self.groups, self._owners = [group], {}
        try:
            yield
        finally:
            self.groups, self._owners = before

    def parts(self) -> Iterator[tuple[Group, slice]]:
        """The groups, each with its rows."""
        start = 0
        for name, rows in self.groups:
            yield (name, rows), slice(start, start + rows)
            start += rows


def can_mix(model: nn.Module, name: str) -> bool:
    """Whether an adapter computes each row by itself, so that others can compute beside it."""
    held = [layer for layer in layers_in(model) if holds(layer, name)]
    return all(getattr(layer, "computes_by_row", True) for layer in held)


@contextmanager
def mixing(
    model: nn.Module, groups: Sequence[Group], tokens: int | None = None, stacks: Stacks | None = None
) -> Iterator[None]:
    """Let each adapter compute its own rows of every batch inside a `with` block, without gradients.

    Which adapters compute is undefined behind it: `activate` says so again.

    Args:
        groups: adapters with their numbers of rows, in the order of the rows. An adapter that the model does not hold
            stands for the base alone.
        tokens: the length of each row, for models that compute `(rows · T, …)`.
        stacks: what is known of the layers, with the names of these adapters at least; None: nothing is.

    Raises:
        NotMixedError: a layer cannot tell the rows apart; nothing was computed.
    """
    state = Mixing([group for group in groups if group[1]], tokens)
    asked = dict.fromkeys(name for name, _ in state.groups)
    with ExitStack() as stack:
        for held in (stacks or Stacks(asked, room=0)).layers_of(model):
            names, layer = asked.keys() & held.names, held.layer
            if not names:
                layer._disable_adapters = True
            elif held.hangs:
                layer.mixing = state
                stack.callback(setattr, layer, "mixing", None)
            else:
                stack.callback(put_forward(layer, _forward_of(held, state, names)))
        yield


def each_group(layer: Any, compute: Callable[..., Tensor], first: Tensor, *others: Tensor | None) -> Tensor:
    """What `compute` gives for the rows of each group, of the shape of `first`, while the layer applies its adapter.

    Args:
        layer: of one of our own tuners; outside `mixing` it computes everything at once.
        first: of a shape that `Mixing.by_row` takes, as the others.
    """
    state: Mixing | None = layer.mixing
    if state is None:
        return compute(first, *others)
    given = [None if each is None else state.by_row(each) for each in (first, *others)]
    found = [compute(*[None if each is None else each[rows] for each in given]) for rows in _each_rows(layer, state)]
    return torch.cat(found).view_as(first)


def each_rows(layer: Any, first: Tensor) -> Iterator[slice]:
    """The rows of each group while the layer applies its adapter, inside `mixing`.

    Raises:
        NotMixedError: the first dimension of this tensor is not that of the rows.
    """
    state: Mixing = layer.mixing
    if len(first) != state.rows:
        raise NotMixedError(f"A layer computes {len(first)} rows of {state.rows}.")
    return _each_rows(layer, state)


def _each_rows(layer: Any, state: Mixing) -> Iterator[slice]:
    for (name, _), rows in state.parts():
        _apply(layer, name)
        yield rows


def rows_of(value: Any, rows: slice, among: int) -> Any:
    """Some rows of what a layer is given beside its input, which may have one for all, or be no tensor."""
    return value[rows] if torch.is_tensor(value) and value.dim() in (2, 4) and len(value) == among else value


def _apply(layer: Any, name: str) -> None:
    """Let a layer apply one adapter, or none where it does not hold it."""
    held = holds(layer, name)
    if held:
        layer._active_adapter = [name]
    layer._disable_adapters = not held


def _forward_of(held: HeldLayer, state: Mixing, names: set[str]) -> Callable[..., Any]:
    """What a layer that wraps a module of the model computes meanwhile."""
    if names.issubset(held.lean):
        return partial(_lean, held, state)
    return partial(_by_groups, held.layer, held.layer.forward, state)


def _lean(held: HeldLayer, state: Mixing, x: Tensor) -> Tensor:
    """W x + bias for all rows, and scaling · B A x for those of each adapter."""
    result = product_of(held.layer.base_layer, x).contiguous()  # so that it is changed through a view
    rows, given = state.by_row(result), state.by_row(x)
    add_updates(rows, given, held.updates(x.dtype, result.dtype), state.owners(held.lean, x.device))
    return result


def _by_groups(
    layer: BaseTunerLayer, forward: Callable[..., Any], state: Mixing, x: Tensor, *args: Any, **options: Any
) -> Tensor:
    """What the layer computes for the rows of each group, one group after the other."""
    rows, found = state.by_row(x), []
    for group, place in state.parts():
        _apply(layer, group[0])
        with state.narrowed(group):
            found.append(forward(rows[place], *args, **options))
    together = torch.cat(found)
    return together.view(*x.shape[:-1], together.shape[-1]) if rows is not x else together
