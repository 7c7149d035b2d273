"""A forward that one module has for itself, in place of that of its class."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn


def put_forward(module: nn.Module, forward: Callable[..., Any]) -> Callable[[], None]:
    """Give a module a forward of its own; what takes it away again."""
    own = vars(module).get("forward")  # it may have one already, as of accelerate's hooks
    module.forward = forward
    return partial(delattr, module, "forward") if own is None else partial(setattr, module, "forward", own)
