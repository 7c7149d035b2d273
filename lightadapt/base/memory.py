"""What training takes of memory, told before a weight is loaded.

A step is run on the meta device, and every tensor that it makes is counted from its birth to its end.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lightadapt import peft_bridge
from lightadapt.anatomy import family_of, outermost
from lightadapt.anatomy.dry_run import results_of, text_inputs
from lightadapt.anatomy.without_values import WithoutValues, choose_everything
from lightadapt.base.design import Design
from lightadapt.base.quantization import quantized_linears
from lightadapt.base.quantized_modules import is_quantized, size_of_packed
from lightadapt.heads.outputs import keep_float32
from lightadapt.machine.quiet import quiet
from lightadapt.tasks.losses.likelihoods import log_likelihoods

LENGTH = 128
"""Tokens of a sequence in the step, where the model takes that many."""
FLOAT32 = 4
"""Bytes of a number that is trained."""


@dataclass(frozen=True)
class Memory:
    """Bytes that training takes."""

    base: Mapping[str, int]
    """The frozen weights, by number format."""
    adapter: int
    """What the method trains."""
    head: int
    optimizer: int
    """The state of AdamW: two float32 numbers for each that is trained."""
    batch_tokens: int | None = None
    """Tokens of the step, padding among them; None: no step was asked for."""
    step: int | None = None
    """The most that a step takes on top: activations, gradients, and weights that are unpacked for a moment."""
    unknown: str = ""
    """Why the step is not known."""

    @property
    def weights(self) -> int:
        return sum(self.base.values()) + self.adapter + self.head

    @property
    def peak(self) -> int | None:
        """All of it; None where the step is not known."""
        return None if self.step is None else self.weights + self.optimizer + self.step

    def rows(self) -> dict[str, str]:
        """What is printed of it."""
        base = " + ".join(f"{as_size(size)} {name}" for name, size in self.base.items())
        own = "adapter" if base else "trained base"
        parts = {own: self.adapter, "head": self.head, "state of AdamW in training": self.optimizer}
        shown = [f"base {base}"] if base else []
        shown += [f"{name} {as_size(size)}" for name, size in parts.items() if size]
        facts = {"memory": ", ".join(shown)}
        if self.batch_tokens is None:
            return facts
        if self.peak is None or self.step is None:
            return facts | {"peak": f"not known ({self.unknown})"}
        how = f"{as_size(self.step)} of them for a step of {self.batch_tokens:,} tokens"
        return facts | {"peak": f"about {as_size(self.peak)}, {how}"}


def as_size(count: int) -> str:
    """Bytes in words.

    >>> as_size(3 * 2**20)
    '3.0 MiB'
    """
    exponent, unit = next((each for each in ((30, "GiB"), (20, "MiB")) if count >> each[0]), (10, "KiB"))
    return f"{count / 2**exponent:,.{2 if unit == 'GiB' else 1}f} {unit}"


def memory_of(model: PreTrainedModel, head: Collection[str], trained: Collection[str]) -> Memory:
    """What the weights of a model take, and what training them would.

    Args:
        head: parameters of the head, as in `named_parameters()`.
        trained: all parameters that are trained, likewise.
    """
    packed = {f"{path}.weight": size_of_packed(each) for path, each in model.named_modules() if is_quantized(each)}
    return _count(model, head, trained, packed)


def _count(
    model: PreTrainedModel, head: Collection[str], trained: Collection[str], packed: Mapping[str, tuple[str, int]]
) -> Memory:
    """The bytes of all parameters; of those that are `packed`, as it says, with the form."""
    base: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        if name in trained:
            numbers["head" if name in head else "adapter"] += parameter.numel()
        else:
            plain = str(parameter.dtype).removeprefix("torch."), parameter.numel() * parameter.element_size()
            form, size = packed.get(name, plain)
            base[form] += size
    return Memory(
        base=dict(base),
        adapter=FLOAT32 * numbers["adapter"],
        head=FLOAT32 * numbers["head"],
        optimizer=2 * FLOAT32 * numbers.total(),
    )


def estimate_memory(design: Design, batch_tokens: int | None = None) -> Memory:
    """What it takes to train what is designed, told without its weights.

    Args:
        batch_tokens: tokens of a step, in sequences of 128 or as many as the model takes; None: no step is run.
    """
    anatomy, plan, quantization = design.blueprint.anatomy, design.plan, design.quantization
    model = design.blueprint.model_without_weights(plan.config)
    names = {name: peft_bridge.original_name(name) for name, _ in model.named_parameters()}
    head = {name for name, original in names.items() if original in anatomy.head}
    unfrozen = {name for name, original in names.items() if original in plan.unfrozen}
    trained = head | unfrozen | peft_bridge.Adapter(model, peft_bridge.ADAPTER).parameters
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
        parameter.data = parameter.data if name in trained else parameter.data.to(design.dtype)
    packed: dict[str, tuple[str, int]] = {}
    for path in () if quantization is None else quantized_linears(anatomy, quantization):
        assert quantization is not None
        layer = peft_bridge.base_layer(model.get_submodule(path))
        layer.forward = partial(_multiply_unpacked, layer, keeps_input=quantization.name == "8bit")
        columns, rows = anatomy.linears[path]
        packed[f"{path}.weight"] = quantization.name, quantization.packed_size((rows, columns))
    memory = _count(model, head, trained, {name: packed[each] for name, each in names.items() if each in packed})
    if batch_tokens is None:
        return memory
    keep_float32(model, outermost(model, head))
    try:
        step = _run_step(model, design, batch_tokens)
    except Exception as error:  # an architecture may ask the meta device for anything
        return replace(memory, batch_tokens=batch_tokens, unknown=f"a step without weights stopped: {error}"[:200])
    return replace(memory, batch_tokens=batch_tokens, step=step)


def _run_step(model: PreTrainedModel, design: Design, batch_tokens: int) -> int:
    """The most bytes that a step forward and backward takes beside the weights."""
    config = design.blueprint.config
    inputs = _inputs_of(model, design, batch_tokens)
    model.train()
    meter = _Meter([*model.parameters(), *model.buffers()])
    fused = design.device.type != "cpu"  # a CPU has a fused attention only where no dropout is in it
    with torch.random.fork_rng(devices=[]), quiet(), choose_everything(), meter:
        with _Attention(fused=fused):
            if family_of(config) == "decoder" and model.get_output_embeddings() is not None:
                loss = -log_likelihoods(model, {**inputs, "labels": inputs["input_ids"]}, shifted=True)[0].sum()
            else:
                loss = torch.stack([_loss_of(value) for value in results_of(model(**inputs))]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
    gradients = FLOAT32 * sum(int(each.numel()) for each in model.parameters() if each.requires_grad)
    return max(meter.peak, 2 * gradients)  # the optimizer works beside the gradients


def _inputs_of(model: PreTrainedModel, design: Design, batch_tokens: int) -> dict[str, Any]:
    """A batch of so many tokens."""
    longest = design.blueprint.anatomy.positions or LENGTH  # of the model alone: there need be no tokenizer
    length = max(1, min(LENGTH, longest - design.method.extra_tokens, batch_tokens))
    both = 2 if design.blueprint.config.is_encoder_decoder else 1  # the tokens of both sides count
    rows = ceil(batch_tokens / (both * length))
    inputs = next(text_inputs(model, rows=rows, length=length, decoder_length=length))
    inputs["attention_mask"][-1, -1] = 0  # a batch has padding, and a mask
    if type(model).__name__.endswith("ForMultipleChoice"):
        return {name: torch.as_tensor(value).unsqueeze(1) for name, value in inputs.items()}  # one choice each
    return inputs


def _loss_of(logits: Tensor) -> Tensor:
    """A loss that takes the memory that a loss takes: in float32, over the last dimension."""
    flat = logits.float().flatten(0, -2)
    return functional.cross_entropy(flat, torch.zeros(len(flat), dtype=torch.long, device="meta"))


class _Attention(WithoutValues):
    """Computes attention as torch's fused kernels do, which never hold the scores."""

    def __init__(self, *, fused: bool) -> None:
        """Fused: also where dropout is in it, as on a GPU; else only without."""
        super().__init__()
        self.fused = fused

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is functional.scaled_dot_product_attention and (self.fused or not kwargs.get("dropout_p")):
            query, key, value = (*args, *(kwargs[each] for each in ("query", "key", "value") if each in kwargs))[:3]
            groups = query.shape[1] // key.shape[1]
            key, value = (each.repeat_interleave(groups, 1) if groups > 1 else each for each in (key, value))
            return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)[0]
        return super().__torch_function__(function, types, args, kwargs)


class _Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that live, but those that were there before."""

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.peak = 0
        self._living: dict[int, Any] = {}  # those known before are held, so that nothing new gets their address
        for tensor in known:
            self._living[tensor.untyped_storage()._cdata] = tensor.untyped_storage()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._count(value)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._living:
            return
        self.bytes += size
        self.peak = max(self.peak, self.bytes)
        self._living[key] = weakref.ref(storage, lambda _: self._free(key, size))

    def _free(self, key: int, size: int) -> None:
        self.bytes -= size
        del self._living[key]


class _Product(torch.autograd.Function):
    """A product with a weight that is unpacked for the time of the product, forward and backward."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, shape: tuple[int, int], bias: Tensor | None, keeps_input: bool) -> Tensor:
        ctx.shape, ctx.kept = shape, inputs if keeps_input else None
        return functional.linear(inputs, inputs.new_empty(shape), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return gradients[0] @ gradients[0].new_empty(ctx.shape), None, None, None


def _multiply_unpacked(layer: Any, inputs: Tensor, *, keeps_input: bool) -> Tensor:
    """What bitsandbytes does in a quantized layer; LLM.int8 keeps its inputs for the way back."""
    shape = tuple(layer.weight.shape)
    shape = shape[::-1] if isinstance(layer, Conv1D) else shape
    product = _Product.apply(inputs, shape, layer.bias, keeps_input)  # type: ignore[no-untyped-call]
    assert isinstance(product, Tensor)
    return product
