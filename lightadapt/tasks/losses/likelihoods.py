"""How likely a language model finds what is to be learned, without the logits of anything else.

The output layer of a language model gives as many numbers a position as the vocabulary has tokens: the largest tensor
of a step by far. Here it is computed for the positions that count, in pieces, and for each piece the gradient of what
goes in is taken at once, so that neither the logits nor their gradient is ever there as a whole (as in Wijmans et al.
2024, "Cut Your Losses in Large-Vocabulary Language Models", but without a kernel of its own).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from lightadapt.tasks.encoding.features import IGNORED

PIECE = 2**24
"""Logits that are there at once: 64 MiB in float32."""

_plain: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()
"""Whether what an output layer gives is what its model returns; some models scale or bend it."""


def log_likelihoods(model: PreTrainedModel, batch: dict[str, Tensor], *, shifted: bool) -> tuple[Tensor, Tensor]:
    """The sum of the log probabilities of the labels of each row `(B,)`, and their number `(B,)`.

    Args:
        shifted: whether the output at a position is about the next one, as in decoders.
    """
    counted = batch["labels"] != IGNORED
    if shifted:
        counted[:, 0] = False  # nothing stands before it
        each = _decoder_losses(model, batch, counted)
    else:
        each = _losses(model(**batch).logits[counted], batch["labels"][counted])
    total = torch.zeros(len(counted), device=each.device, dtype=each.dtype)
    return total.index_add(0, counted.nonzero()[:, 0], -each), counted.sum(-1)


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """The negative log probabilities `(N,)` of labels `(N,)` by logits `(N, V)`."""
    return cross_entropy(logits.float(), labels, reduction="none")


def _decoder_losses(model: PreTrainedModel, batch: dict[str, Tensor], counted: Tensor) -> Tensor:
    """The negative log probabilities `(N,)` of the labels that are counted, `(B, T)`."""
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    labels, places = batch["labels"][counted], counted.roll(-1, 1)  # told at the position before
    layer = extract_model_from_parallel(model).get_output_embeddings()
    if layer is None:
        return _losses(model(**inputs).logits[places], labels)
    if _can_be_called_apart(layer) and _plain.get(layer, True):
        reader = _OutputLayer(places, lambda hidden, chosen: hidden[:1, :1])  # the model goes on with the least
        logits = reader.run(layer, model, inputs)
        if reader.chosen is None:
            return _losses(logits[places], labels)
        if layer not in _plain:
            assert reader.given is not None
            _plain[layer] = logits is reader.given or torch.equal(reader.given.float(), logits.float())
        if _plain[layer]:
            return _InPieces.apply(reader.chosen, labels, layer)  # type: ignore[no-any-return, no-untyped-call]
    reader = _OutputLayer(places, lambda hidden, chosen: chosen[None])
    logits = reader.run(layer, model, inputs)
    return _losses(logits[places] if reader.chosen is None else logits[0], labels)


def _can_be_called_apart(layer: nn.Module) -> bool:
    """Whether a layer is frozen and whole, so that it can be called outside the forward pass of its model."""
    return not any(
        parameter.requires_grad or not parameter.numel() or hasattr(parameter, "placements")  # trained, or in shards
        for parameter in layer.parameters()
    )


class _OutputLayer:
    """Gives the output layer of a model less to compute, and keeps what goes into it at the places that count."""

    def __init__(self, places: Tensor, reduce: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Let the layer have `reduce(hidden, hidden[places])` of its hidden states `(B, T, width)`."""
        self.places = places
        self.reduce = reduce
        self.chosen: Tensor | None = None
        """`(N, width)`; None where the layer was not called with one hidden state for each position."""
        self.given: Tensor | None = None
        """What the layer gave."""

    def run(self, layer: nn.Module, model: PreTrainedModel, inputs: dict[str, Tensor]) -> Tensor:
        """The logits that the model returns."""
        handles = layer.register_forward_pre_hook(self._take), layer.register_forward_hook(self._keep)
        try:
            return model(**inputs).logits  # type: ignore[no-any-return]
        finally:
            for handle in handles:
                handle.remove()

    def _take(self, layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not args or args[0].dim() != 3 or args[0].shape[:2] != self.places.shape:
            return None
        self.chosen = args[0][self.places]
        return self.reduce(args[0], self.chosen), *args[1:]

    def _keep(self, layer: nn.Module, args: Any, output: Tensor) -> None:
        self.given = output


class _InPieces(torch.autograd.Function):
    """The negative log probabilities `(N,)` of labels `(N,)` by an output layer that reads `(N, width)`."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, labels: Tensor, layer: Any) -> Tensor:
        size = max(1, PIECE // layer.weight.shape[0])
        found, gradients = [labels.new_zeros(0, dtype=torch.float32)], [hidden[:0]]
        for part, targets in zip(torch.split(hidden, size), torch.split(labels, size), strict=True):
            part = part.detach().requires_grad_(ctx.needs_input_grad[0])
            with torch.set_grad_enabled(ctx.needs_input_grad[0]):
                each = _losses(layer(part), targets)
                found.append(each.detach())
                if ctx.needs_input_grad[0]:
                    gradients += torch.autograd.grad(each.sum(), part)
        ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None, None]:
        (gradients,) = ctx.saved_tensors
        return (gradients * outputs[0][:, None]).to(gradients.dtype), None, None
