"""What is inserted into a base model: an adapter under a name, and the head of a task."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import prod
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from lightadapt import peft_bridge
from lightadapt.adaptation.tensors import restore, trained_tensors
from lightadapt.anatomy import outermost
from lightadapt.base.memory import Memory, memory_of
from lightadapt.base.quantized_modules import is_quantized
from lightadapt.base.weights import Base
from lightadapt.heads.head import Head
from lightadapt.heads.pooling import Pooling
from lightadapt.machine.processes import is_sharded, meet


class Adaptation:
    """A method inserted into a base model under a name, with the head of a task.

    Attributes:
        base: the model with its weights, and the design that it was built from.
        model: a transformers model of the task's own class.
        adapter: what is inserted.
        head: what the task brings along.
        learned_head: the parameters of it that learn.
        trained: parameters of the model itself that are trained; the adapter's own come on top.
        modules: the fewest modules that hold them.
    """

    def __init__(self, base: Base, name: str, *, named_outputs: bool) -> None:
        """Insert the method of the base's design.

        Args:
            name: of the adapter in the model.
            named_outputs: whether the task knows the names of the head's outputs.
        """
        design = base.design
        self.base = base
        self.design = design
        self.model: PreTrainedModel = base.model
        self.adapter = peft_bridge.Adapter(self.model, name)
        self._called: str | None = None
        self.head = Head(
            self.model,
            base.head,
            design.blueprint.anatomy.head,
            named=named_outputs,
            trained=base.trained_head,
            seed=design.seed,
        )
        self._take_head(base.head)
        self._insert()

    def _take_head(self, learned: frozenset[str]) -> None:
        self.learned_head = learned
        self.trained = learned | self.design.plan.unfrozen
        self.modules = outermost(self.model, self.trained)

    def read_as_prototypes(self, pooling: Pooling) -> None:
        """Let the rows of the head be prototypes from now on; what else is in the head learns no more.

        Raises:
            LightAdaptError: it has no such rows.
        """
        self._take_head(self.head.read_as_prototypes(pooling))
        self.freeze_rest_of_head()

    def read_as_discriminants(self) -> None:
        """Let the rows of a head of prototypes be linear functions of the vectors from now on, with biases."""
        learns = all(self.model.get_parameter(name).requires_grad for name in self.learned_head)
        self._take_head(self.head.read_as_discriminants())
        for name in self.learned_head:
            self.model.get_parameter(name).requires_grad_(learns)

    def freeze_rest_of_head(self) -> None:
        """Let what has no say in the head learn nothing, as also after it has got more outputs."""
        for name in self.base.head - self.learned_head:
            self.model.get_parameter(name).requires_grad_(False)

    @property
    def name(self) -> str:
        """What it is called: as its adapter in the model is, unless it took the place of another."""
        return self._called or self.adapter.name

    def rename(self, name: str) -> None:
        """Give it, and its adapter in the model, another name."""
        self.adapter, self._called = self.adapter.rename(name), None

    def call(self, name: str) -> None:
        """Give it another name, which its adapter in the model does not get: going through all layers takes time."""
        self._called = None if name == self.adapter.name else name

    def rename_adapter(self, name: str) -> None:
        """Give its adapter in the model another name, which it does not get itself."""
        self.adapter, self._called = self.adapter.rename(name), self.name

    def _insert(self) -> None:
        """Insert the adapter; what is trained gets tensors of its own in float32."""
        # A model built from an instance shares its tensors; what is trained must not change the instance.
        blueprint = self.design.blueprint
        shared = blueprint.source.instance is not None and blueprint.ready is None
        if shared and self.design.method.rewrites_base:
            for parameter in self.model.parameters():
                parameter.data = parameter.data.clone()
        if self.design.plan.config is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.design.seed)
                peft_bridge.insert(self.model, self.design.plan.config, self.adapter.name)
        for name in self.all_trained:
            parameter = self.model.get_parameter(name)
            parameter.data = parameter.data.clone() if shared else parameter.data
            parameter.data = parameter.data.float()

    @property
    def all_trained(self) -> frozenset[str]:
        """Every parameter that is trained, as in `model.named_parameters()`."""
        own: Collection[str] = self.trained
        if self.design.plan.unfrozen:  # these may lie below layers of PEFT
            names = [name for name, _ in self.model.named_parameters()]
            own = [name for name in names if peft_bridge.original_name(name) in self.trained]
        return frozenset(own) | self.adapter.parameters

    # ---- computing and learning

    def activate(self, *, enabled: bool = True) -> None:
        """Let the shared modules compute with this adapter and no other; or with none."""
        peft_bridge.activate(self.model, (self.adapter.name,) if enabled else ())

    def prepare_training(self, *, enabled: bool = True) -> None:
        """Let what this adaptation trains get gradients; or let it get none."""
        for name in self.all_trained:
            self.model.get_parameter(name).requires_grad_(enabled)

    @property
    def blocks(self) -> list[nn.Module]:
        """The modules of all transformer blocks; a block can be several."""
        blocks = self.design.blueprint.anatomy.blocks
        return [self.model.get_submodule(path) for block in blocks for path in block.paths]

    @property
    def first_stack(self) -> list[nn.Module] | None:
        """The blocks of the first stack in the order in which they run; None when a block is several modules."""
        anatomy = self.design.blueprint.anatomy
        blocks = [block for block in anatomy.blocks if block.stack == anatomy.stacks[0]]
        if any(len(block.paths) > 1 for block in blocks):
            return None
        return [self.model.get_submodule(block.path) for block in blocks]

    # ---- tensors

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything that training changes, under the names of PEFT's files."""
        if is_sharded(self.model):
            meet("save")
        return trained_tensors(self.adapter, self.trained, self.modules)

    def restore(self, tensors: Mapping[str, torch.Tensor], where: Path, *, learned: bool = True) -> None:
        """Write saved tensors into the model.

        Args:
            where: the folder that they come from, for an error.
            learned: whether the head had learned something by then.

        Raises:
            ArtifactError: they are not exactly the tensors that this model trains.
        """
        restore(self.adapter, self.trained, self.modules, tensors, where)
        if learned:
            self.head.mark_learned()
        else:
            self.head.mark_untouched()

    # ---- sizes

    def sizes(self) -> dict[str, int]:
        """The number of values of every parameter; what is quantized has fewer elements, which hold several each."""
        shapes = self.design.blueprint.anatomy.parameters
        packed = {id(module.weight) for module in self.model.modules() if is_quantized(module)}
        return {
            name: prod(shapes[peft_bridge.original_name(name)]) if id(parameter) in packed else parameter.numel()
            for name, parameter in self.model.named_parameters()
        }

    def memory(self) -> Memory:
        """What the weights take, and training them."""
        return memory_of(self.model, self.learned_head, self.all_trained)
