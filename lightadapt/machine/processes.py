"""Several processes that run the same script: what one of them does for all, and how they share work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

import torch
from torch import distributed, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from lightadapt.errors import LightAdaptError

DONE = "done"
"""What the main process tells the others when it has acted."""
WAIT = timedelta(minutes=10)
"""How long the others wait for what the main process does for all."""

Item = TypeVar("Item")
Action: TypeAlias = Callable[[], None]
Gate: TypeAlias = Callable[[Action], None]
"""Performs an action in the processes that are to perform it."""
_times: Counter[str] = Counter()
"""How often this process has called `meet` or `once` for the same thing."""


def number_of_processes() -> int:
    """How many processes have joined; 1 where none has been told of others."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process; 0 is the main one."""
    return distributed.get_rank() if number_of_processes() > 1 else 0


def share_of(items: Sequence[Item]) -> Sequence[Item]:
    """The items that this process does where each does its share."""
    return items[rank() :: number_of_processes()]


def gather(items: list[Item]) -> list[Item]:
    """The items of all processes, which have to call this together, in the order of the processes."""
    if number_of_processes() == 1:
        return items
    found: list[list[Item]] = [[] for _ in range(number_of_processes())]
    distributed.all_gather_object(found, items)
    return [item for each in found for item in each]


def from_main(item: Item) -> Item:
    """The item of the main process; all have to call this together."""
    return gather([item])[0]


def is_sharded(model: nn.Module) -> bool:
    """Whether each process holds a part of the parameters only, so that it cannot compute without the others."""
    joined = distributed.is_available() and distributed.is_initialized()  # else there is nobody to have the other parts
    return joined and any(isinstance(parameter, DTensor) for parameter in model.parameters())


def unshard(tensor: torch.Tensor) -> torch.Tensor:
    """The whole tensor; where it is in parts, all processes have to call this together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor  # type: ignore[no-any-return, no-untyped-call]


def shard_like(place: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """The whole tensor, cut into parts where `place` is, so that it can be written there."""
    if not isinstance(place, DTensor):
        return tensor
    given = tensor.to(place.device, place.dtype)
    return distribute_tensor(given, place.device_mesh, place.placements, src_data_rank=None)  # all have it: none sends


def meet(what: str) -> None:
    """Go on when all processes have called this.

    Raises:
        LightAdaptError: some have not; what needs them all would wait for good.
    """
    key = _next_key(what)
    keys = [f"{key}/{number}" for number in range(number_of_processes())]
    _store().set(keys[rank()], "")
    _wait_for(
        keys,
        f"The model is in parts, one in each process, and for {WAIT} not all of them have come to {what}. "
        "Call it in every process, not in the main one alone.",
    )


def once(action: Action, what: str) -> None:
    """Let the main process act; the others go on when it has.

    This is no barrier, at which the main process would wait for good for others that were never told to call, as in
    `if rank == 0: adapted.save(…)`.

    Args:
        what: names the action; the same in all processes.

    Raises:
        LightAdaptError: in the other processes, when the main one failed or did not call.
    """
    if number_of_processes() == 1:
        action()
        return
    key = _next_key(what)
    if rank() == 0:
        try:
            action()
        except Exception as error:
            _store().set(key, f"{type(error).__name__}: {error}")
            raise
        _store().set(key, DONE)
        return
    _wait_for([key], f"{what}: the main process does this for all, and has not within {WAIT}. Call it there, too.")
    said = _store().get(key).decode()
    if said != DONE:
        raise LightAdaptError(f"{what} failed in the main process: {said}")


def _store() -> Any:
    """What all processes can write to and read."""
    return distributed.distributed_c10d._get_default_store()


def _next_key(what: str) -> str:
    """A key for this call, the same in all processes."""
    _times[what] += 1
    return f"lightadapt/{what}/{_times[what]}"


def _wait_for(keys: list[str], late: str) -> None:
    """Wait until these keys are set; after `WAIT` raise an error that says `late`."""
    try:
        _store().wait(keys, WAIT)
    except distributed.DistStoreError as error:
        raise LightAdaptError(late) from error
