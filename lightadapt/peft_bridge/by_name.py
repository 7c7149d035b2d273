"""What can be done with an adapter, as functions of a model and a name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from lightadapt.peft_bridge.active import activate
from lightadapt.peft_bridge.adapter import Adapter
from lightadapt.peft_bridge.layers import ADAPTER

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LOCKS: WeakKeyDictionary[nn.Module, Any] = WeakKeyDictionary()
"""While one thread has an adapter folded in, no other may use the model."""


def adapted_modules(model: Any, name: str = ADAPTER) -> list[str]:
    """The paths of the modules that the adapter works on."""
    return Adapter(model, name).modules


def adapter_tensors(model: PreTrainedModel, name: str = ADAPTER) -> dict[str, torch.Tensor]:
    """The adapter's tensors under the names of PEFT's files, without their prefix; none without an adapter."""
    return Adapter(model, name).tensors()


def load_adapter_tensors(model: PreTrainedModel, tensors: Mapping[str, torch.Tensor], name: str = ADAPTER) -> None:
    """Write tensors named as by `adapter_tensors` into the inserted adapter."""
    Adapter(model, name).load_tensors(tensors)


def write_config(
    path: Path, model: PreTrainedModel, name: str, modules: Sequence[str], base: str | None, revision: str | None
) -> None:
    """Write adapter_config.json such that stock PEFT restores the adapter and `modules` (head, trained blocks)."""
    Adapter(model, name).write_config(path, modules, base, revision)


def use(model: nn.Module, name: str | None) -> None:
    """Let the layers that hold this adapter apply it, and all others none; None: the base model alone."""
    activate(model, () if name is None else (name,))


def fold(model: PreTrainedModel, name: str = ADAPTER) -> None:
    """Add the adapter to the weights and take all adapters out, in place.

    Raises:
        NotImplementedError: the adapter is no change of weights.
    """
    Adapter(model, name).fold()


def check_foldable(model: PreTrainedModel, name: str = ADAPTER, *, onto_these: bool) -> None:
    """Try to fold one layer of each kind, in a copy.

    Raises:
        NotImplementedError: the adapter is no change of weights.
    """
    Adapter(model, name).check_foldable(onto_these=onto_these)


@contextmanager
def folded_if_it_pays(model: PreTrainedModel, name: str, tokens: int) -> Iterator[None]:
    """The adapter in the weights for a prediction of so many tokens, one thread at a time, for any number of tokens."""
    with _LOCKS.setdefault(model, RLock()), Adapter(model, name).folded_if_it_pays(tokens):
        yield
