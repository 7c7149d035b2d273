"""One pass through a model without weights: what is called, in which order, and what a loss would reach.

The module tree says what there is, not what is used: a class may carry projections that its forward pass never calls,
or calls for images only. So the model is built on the meta device, where tensors have shapes but no values, and a
short input is sent forward and backward.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from lightadapt.anatomy import attention
from lightadapt.anatomy.without_values import WithoutValues, choose_everything
from lightadapt.machine.quiet import quiet

LENGTH = 16
"""Tokens of the input."""
DECODER_LENGTH = 12
"""Tokens of the decoder's input; another number, so that attention across is known by its shape."""
FUNCTION = "lightadapt_dry_run"

_DEVICE_OF = Tensor.device.__get__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class KeyValues:
    """What reaches the attention function of one module."""

    heads: int
    """Heads of the keys: fewer than those of the queries where several share one."""
    key_width: int
    value_width: int
    across: bool
    """Whether the keys come from another sequence than the queries."""
    interface: bool
    """Whether the module calls transformers' attention interface; else it calls torch's functions itself."""
    written_out: bool = False
    """Whether these functions are products and a softmax."""


@dataclass
class DryRun:
    """What a forward pass and a backward pass of a model touched. Modules are named by path."""

    order: dict[str, int] = field(default_factory=dict)
    """Every module that was called, with its turn."""
    widths: dict[str, int] = field(default_factory=dict)
    """Every module that was called with a hidden state, with the width of that."""
    attention: dict[str, KeyValues] = field(default_factory=dict)
    """Every module that computes attention."""
    embedding: str | None = None
    """The module that turned the token ids into vectors."""
    readers: list[str] = field(default_factory=list)
    """The modules that were given the token ids."""
    misfits: set[str] = field(default_factory=set)
    """Linear modules whose output is not their input times their weight, by its shape."""
    bypassed: set[str] = field(default_factory=set)
    """Linear modules whose weight was read by another than themselves, so that no other module can stand in."""
    finished: bool = False
    """Whether the forward pass came to its end; else what was not called might have been."""
    stopped_by: str = ""
    """What ended the passes before their end."""
    idle: frozenset[str] | None = None
    """Parameters that no output depends on; None when the backward pass could not be completed."""


def dry_run(model: PreTrainedModel) -> DryRun:
    """Run a model of the meta device; what was seen until the first thing that has no answer there.

    The model is used up: its modules are left instrumented.
    """
    model.train()  # some read weights past their modules then, and only then
    model.config._experts_implementation = "batched_mm"  # the one implementation whose shapes depend on no values
    for module in model.modules():
        if attention.has_own_config(module):
            attention.redirect(module, FUNCTION)
        if isinstance(module, nn.Embedding):  # as they will be: some blocks let no gradient in unless one goes through
            module.requires_grad_(False)
    runs = []
    for inputs in text_inputs(model):
        observer = _Observer(inputs["input_ids"])
        model.zero_grad(set_to_none=True)
        try:
            with torch.random.fork_rng(devices=[]), quiet(), observer.watch(model), choose_everything():
                with observer:
                    outputs = model(**inputs)
                    observer.run.finished = True
                    loss = sum(value.float().sum() for value in results_of(outputs))
                if isinstance(loss, Tensor):
                    torch.autograd.backward(loss)
                    observer.run.idle = frozenset(
                        name
                        for name, parameter in model.named_parameters()
                        if parameter.grad is None and parameter.requires_grad
                    )
        except Exception as error:  # an architecture may raise anything here; what was seen before holds
            observer.run.stopped_by = f"{type(error).__name__}: {error}"
        if observer.run.idle is not None:
            return observer.run
        runs.append(observer.run)
    return max(runs, key=lambda run: (run.finished, len(run.order)))


def text_inputs(
    model: PreTrainedModel, *, rows: int = 1, length: int = LENGTH, decoder_length: int = DECODER_LENGTH
) -> Iterator[dict[str, Any]]:
    """Inputs to try, those that show most first: texts of so many tokens."""
    accepted = inspect.signature(model.forward).parameters
    tokens = _tokens(model.config, rows, length)
    inputs: dict[str, Any] = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    if "use_cache" in accepted:
        inputs["use_cache"] = False
    if "bbox" in accepted:  # where on a page each token is
        inputs["bbox"] = torch.zeros(rows, length, 4, dtype=torch.long)
    if "decoder_input_ids" in accepted:
        yield inputs | {"decoder_input_ids": _tokens(model.config, rows, decoder_length)}
        yield inputs | {"decoder_input_ids": tokens}
    yield inputs
    yield {"input_ids": tokens}
    separator = getattr(model.config, "sep_token_id", None)
    if isinstance(separator, int):  # a question and a context, which Longformer tells apart by three of them
        yield inputs | {"input_ids": tokens.index_fill(1, torch.tensor([4, 5, length - 1]), separator)}


def _tokens(config: PretrainedConfig, rows: int, length: int) -> Tensor:
    """Sequences of token ids that end as a text does."""
    text = config.get_text_config()
    last = int(getattr(text, "vocab_size", None) or 100) - 1
    tokens = torch.full((rows, length), min(7, last))
    end = getattr(text, "eos_token_id", None)
    end = end[0] if isinstance(end, list) and end else end
    if isinstance(end, int) and 0 <= end <= last:
        tokens[:, -1] = end
    return tokens


def results_of(outputs: Any) -> list[Tensor]:
    """The outputs that a loss is computed from; of a bare backbone, all that it gives."""
    values = dict(outputs) if isinstance(outputs, Mapping) else {"logits": outputs[0]}
    heads = [value for name, value in values.items() if "logits" in name and isinstance(value, Tensor)]
    return heads or [value for value in values.values() if isinstance(value, Tensor) and value.is_floating_point()]


class _Observer(WithoutValues):
    """Takes down what is called."""

    current: Sequence[_Observer] = ()
    """Those that are watching now, the innermost last."""

    def __init__(self, tokens: Tensor) -> None:
        super().__init__()
        self.run = DryRun()
        self._tokens = tokens.flatten().tolist()
        self._stack: list[tuple[str, nn.Module]] = []
        self._scores: dict[str, tuple[int, int, bool]] = {}
        """Heads, width of the keys, and whether it goes across, for modules that compute attention by products."""
        self._ambiguous: set[str] = set()
        """Modules with more than one attention, of which a prefix could not be part."""
        self._products: dict[str, list[tuple[Tensor, int]]] = {}
        """The first factor, and the number of values of the product, for modules that multiply activations."""
        self._weights: dict[int, tuple[str, nn.Module]] = {}
        """The weights of the linear modules, by identity, with path and module."""

    @contextmanager
    def watch(self, model: nn.Module) -> Iterator[None]:
        """Take down every call of every module of the model."""
        handles = []
        self._weights = {
            id(module.weight): (path, module)
            for path, module in model.named_modules()
            if isinstance(module, (nn.Linear, Conv1D))
        }
        for path, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(self._entering(path), with_kwargs=True))
            handles.append(module.register_forward_hook(self._leave))
        before = _Observer.current
        _Observer.current = (*before, self)
        try:
            yield
        finally:
            _Observer.current = before
            for handle in handles:
                handle.remove()

    def _entering(self, path: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._stack.append((path, module))
            self.run.order.setdefault(path, len(self.run.order))
            if any(map(self._are_tokens, (*args, *kwargs.values()))):
                if isinstance(module, nn.Embedding):
                    self.run.embedding = self.run.embedding or path
                else:
                    self.run.readers.append(path)
            for value in (*args, *kwargs.values()):
                if isinstance(value, Tensor) and value.is_floating_point() and value.dim() >= 2:
                    self.run.widths.setdefault(path, value.shape[-1])
                    break

        return hook

    def _are_tokens(self, value: Any) -> bool:
        with torch._C.DisableTorchFunction():
            real = isinstance(value, Tensor) and not value.is_meta
            return real and value.numel() == len(self._tokens) and value.flatten().tolist() == self._tokens

    def _leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        path, _ = self._stack.pop()
        if isinstance(module, nn.Linear) and args:
            fits = args[0].shape[-1] == module.in_features and output.shape[-1] == module.out_features
            if not fits or args[0].shape[:-1] != output.shape[:-1]:
                self.run.misfits.add(path)

    @property
    def _place(self) -> str:
        """The innermost running module that has modules of its own."""
        return next((path for path, module in reversed(self._stack) if any(True for _ in module.children())), "")

    def record(self, query: Tensor, key: Tensor, value: Tensor, *, interface: bool) -> None:
        """Take down one attention: (batch, heads, tokens, width) each."""
        across = query.shape[-2] != key.shape[-2]
        seen = KeyValues(key.shape[1], key.shape[-1], value.shape[-1], across, interface)
        if interface or self._place not in self._ambiguous:
            self.run.attention.setdefault(self._place, seen)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for value in args:
            if id(value) in self._weights and function is not _DEVICE_OF:
                path, owner = self._weights[id(value)]
                if not self._stack or self._stack[-1][1] is not owner:
                    self.run.bypassed.add(path)
        if function is nn.functional.scaled_dot_product_attention:
            query, key, value = (*args, *(kwargs[each] for each in ("query", "key", "value") if each in kwargs))[:3]
            self.record(query, key, value, interface=False)
        result = super().__torch_function__(function, types, args, kwargs)
        self._follow(function, args, kwargs, result)
        return result

    def _follow(self, function: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Recognise attention written as a product, a softmax and another product."""
        place = self._place
        if place in self._ambiguous or (place in self.run.attention and place not in self._scores):
            return
        pair = attention.factors(function, args, kwargs)
        softmax = function in attention.SOFTMAX and args[0].dim() >= 3
        if softmax and (found := attention.first_factor(args[0], self._products.get(place, ()))) is not None:
            self._see_scores(place, args[0], found[0].shape[-1])
        elif softmax and place in self._scores:
            self._see_scores(place, args[0], self._scores[place][1])
        elif pair and place in self._scores and place not in self.run.attention:
            heads, width, across = self._scores[place]
            self.run.attention[place] = KeyValues(heads, width, pair[1].shape[-1], across, False, written_out=True)
        elif pair:
            self._products.setdefault(place, []).append((pair[0], result.numel()))

    def _see_scores(self, place: str, scores: Tensor, width: int) -> None:
        """Take down scores (batch, heads, queries, keys); of two attentions the one with wider keys counts."""
        before = self._scores.get(place)
        if before is not None and before[1] == width:
            self._ambiguous.add(place)
            self.run.attention.pop(place, None)
        elif before is None or before[1] < width:
            heads = scores.shape[-3]  # also where batch and heads are one dimension, of a batch of one
            self._scores[place] = (heads, width, scores.shape[-1] != scores.shape[-2])
            self.run.attention.pop(place, None)


def _attend(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
    for observer in _Observer.current[-1:]:
        observer.record(query, key, value, interface=True)
    return attention.original_function(module)(module, query, key, value, *args, **kwargs)


attention.register(FUNCTION, _attend)
