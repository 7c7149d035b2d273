"""The leaner LoRA on quantized layers; apart, because PEFT's own layers for them need bitsandbytes."""

from __future__ import annotations

from typing import Any

from peft.tuners.lora import bnb
from torch import Tensor

from lightadapt.peft_bridge.lean_lora import add_update, lean_adapter


class LeanLinear8bit(bnb.Linear8bitLt):
    """PEFT's LoRA on a layer of 8 bits, with a forward of its own wherever it would give the same."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        name = lean_adapter(self, x, args, kwargs)
        if name is None:
            return super().forward(x, *args, **kwargs)  # type: ignore[no-any-return]
        return add_update(self, self.base_layer(x), x, name)


class LeanLinear4bit(bnb.Linear4bit):
    """PEFT's LoRA on a layer of 4 bits, likewise."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        name = lean_adapter(self, x, args, kwargs)
        if name is None:
            return super().forward(x, *args, **kwargs)  # type: ignore[no-any-return]
        return add_update(self, self.base_layer(x), x, name)


LEAN = {bnb.Linear8bitLt: LeanLinear8bit, bnb.Linear4bit: LeanLinear4bit}
