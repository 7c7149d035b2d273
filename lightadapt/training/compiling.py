"""The blocks of a model through `torch.compile`, for the time of a run.

Not the model as a whole: tasks and methods look at what goes into it and into its output layer by hooks of a single
step, which torch takes for fixed once it has compiled the module. Blocks are alike, so that what is compiled for one
serves all, and they keep their names, so that what is saved stays the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from lightadapt.errors import LightAdaptError, nearest

VARIANTS = 64
"""Times that torch may compile a block anew: the first and the last can differ, and a batch of one row does."""


def check_compile(settings: Mapping[str, Any]) -> None:
    """Raise when torch has no such backend, or the backend no such mode."""
    name, mode, known = settings["backend"], settings["mode"], torch.compiler.list_backends(exclude_tags=())
    if name not in known:
        raise LightAdaptError(f"torch_compile_backend={name!r} is unknown. {nearest(name, known)}Known: {known}.")
    try:
        torch.compile(nn.Identity(), **settings)  # which compiles nothing before it is called
    except (RuntimeError, TypeError, ValueError) as error:
        raise LightAdaptError(f"torch_compile_mode={mode!r} cannot be used: {error}") from error


@contextmanager
def compiled(blocks: Iterable[nn.Module], settings: Mapping[str, Any] | None) -> Iterator[None]:
    """Inside, these modules run compiled, for batches of any shape.

    Args:
        settings: of `torch.compile`; None: nothing is compiled.
    """
    if settings is None:
        yield
        return
    blocks = list(blocks)
    torch.compiler.reset()  # what other models have used up of the variants
    # Methods hang on modules by hooks: what was compiled for a block without any must not serve one that has some.
    with torch._dynamo.config.patch(skip_nnmodule_hook_guards=False, recompile_limit=VARIANTS):
        try:
            for block in blocks:
                block.compile(dynamic=True, **settings)
            yield
        finally:
            for block in blocks:
                block._compiled_call_impl = None
            torch.compiler.reset()


@contextmanager
def not_compiled() -> Iterator[None]:
    """Inside, compiled modules run as they are written: generation changes shapes with every token."""
    with torch.compiler.set_stance("force_eager"):
        yield
