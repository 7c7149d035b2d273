"""bitsandbytes is imported where something is quantized, and not because PEFT is there.

Importing it takes a second, for it brings torch's compiler along, and on some processors it asks the hub for a kernel.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from unittest.mock import patch

NAME = "bitsandbytes"


class Late:
    """A module that is imported when something of it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)


def import_peft() -> None:
    """Import PEFT without bitsandbytes, which its `helpers` would import for one function that few call."""
    if "peft" in sys.modules or NAME in sys.modules:
        return
    import transformers  # noqa: F401  # looks for bitsandbytes, and keeps what it finds

    sys.modules[NAME] = None  # type: ignore[assignment]
    try:
        from peft import helpers, import_utils
    finally:
        del sys.modules[NAME]
    import_utils.is_bnb_available.cache_clear()
    import_utils.is_bnb_4bit_available.cache_clear()
    helpers.bnb = Late(NAME)


@contextmanager
def unseen_by(tuner: type) -> Iterator[None]:
    """Let PEFT insert no layer of bitsandbytes inside the block, and so not import it either.

    Where it was not imported, no module of any model is of it.
    """
    with ExitStack() as stack:
        if NAME not in sys.modules:
            asking = {kind.__module__ for kind in tuner.__mro__ if kind.__module__.startswith("peft.")}
            for module in {*asking, "peft.utils.quantization_utils"} & sys.modules.keys():
                for question in ("is_bnb_available", "is_bnb_4bit_available"):
                    if hasattr(sys.modules[module], question):
                        stack.enter_context(patch.object(sys.modules[module], question, lambda: False))
        yield
