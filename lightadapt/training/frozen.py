"""The frozen part of a model, which computes as at inference while the rest learns.

Dropout guards weights that learn against fitting what is in front of them. On weights that do not learn it is noise,
which takes a tenth of a step or more on a CPU, and lets the same text give other hidden states each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import Any

from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from lightadapt import peft_bridge
from lightadapt.adaptation.adaptation import Adaptation
from lightadapt.base.quantization import is_quantized


class FrozenBase:
    """A context in which `rest` puts the frozen modules of an adaptation's base into evaluation mode.

    The head, what the method inserts, and blocks of which it trains matrices (as `full` does) are not among them.
    """

    def __init__(self, adaptation: Adaptation, *, dropout: bool = False) -> None:
        """`dropout` keeps it on: then no module is put into evaluation mode."""
        self.adaptation = adaptation
        self.dropout = dropout
        self.modules: list[nn.Module] = []
        self._checkpointers: list[Any] = []
        self._checkpointing: dict[Any, Callable[..., Any]] = {}

    def rest(self) -> None:
        """Put the frozen modules into evaluation mode, after `model.train()` has put all into training mode."""
        for module in self.modules:
            module.training = False
        for module in self._checkpointers:  # activations are computed anew by modules in training mode only
            module.training = module.gradient_checkpointing
            if module.training and isinstance(module, GradientCheckpointingLayer):
                self._let_rest_inside(module)

    def _let_rest_inside(self, block: Any) -> None:
        """Let a block that is computed anew be in evaluation mode whenever it computes."""
        if block in self._checkpointing:
            return
        checkpoint = block._gradient_checkpointing_func
        self._checkpointing[block] = checkpoint
        block._gradient_checkpointing_func = lambda run, *args: checkpoint(partial(_run_resting, block, run), *args)

    def __enter__(self) -> FrozenBase:
        self.modules = [] if self.dropout else list(_frozen_modules(self.adaptation))
        self._checkpointers = [module for module in self.modules if _checkpoints(module)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for block, checkpoint in self._checkpointing.items():
            block._gradient_checkpointing_func = checkpoint
        self._checkpointing.clear()


def _checkpoints(module: Any) -> bool:
    """Whether activations inside this module are computed anew by itself, when that is asked for."""
    if isinstance(module, GradientCheckpointingLayer):
        return True
    able = hasattr(module, "gradient_checkpointing")
    return able and not any(isinstance(inside, GradientCheckpointingLayer) for inside in module.modules())


def _run_resting(block: nn.Module, run: Callable[..., Any], *args: Any) -> Any:
    block.training = False
    try:
        return run(*args)
    finally:
        block.training = True


def _frozen_modules(adaptation: Adaptation) -> Iterator[nn.Module]:
    anatomy, head = adaptation.design.blueprint.anatomy, adaptation.base.head
    matrices = {name for name in adaptation.design.plan.unfrozen if len(anatomy.parameters[name]) > 1}
    blocks = {path for block in anatomy.blocks for path in block.paths}
    learning = tuple(f"{path}." for path in blocks & _holders(matrices))
    if any(not name.startswith(learning) for name in matrices):
        return  # embeddings are trained, and with them all that follows
    frozen = _holders(anatomy.parameters.keys() - head)
    of_head = _holders(head) - frozen
    for root, child in adaptation.model.named_children():
        if root not in frozen:
            continue
        for path, module in _walk(child, root):
            if path not in of_head and not f"{path}.".startswith(learning):
                yield module


def _holders(parameters: Iterable[str]) -> set[str]:
    """The paths of all modules that hold any of these parameters."""
    split = [name.split(".") for name in parameters]
    return {".".join(parts[:end]) for parts in split for end in range(1, len(parts))}


def _walk(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """The modules of the base from this one down, without what is inserted, under the names that they have alone."""
    if isinstance(module, peft_bridge.BaseTunerLayer):
        if "base_layer" in module._modules:
            yield from _walk(peft_bridge.base_layer(module), path)
        return
    if not is_quantized(module):  # they have no dropout, and some pack their weights when they evaluate
        yield path, module
    for name, child in module.named_children():
        yield from _walk(child, f"{path}.{name}")
