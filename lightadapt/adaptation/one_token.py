"""The last block, computed for the one token that the head reads.

Most classifiers of texts read the first token of each. Of the others, the last block then has to compute keys and
values alone: its queries, its output and its feed-forward, five sixths of the products of a block, are needed of one
token. The predictions are the same. It saves a tenth of the time of an encoder of six blocks, and a twentieth of one of
twelve. Training gains less, and builds kernels of oneDNN that take 200 MiB more, so there whole blocks compute.

Whether a head reads one token is tried on hidden states that differ in all others, and whether the block can be
computed so on the first inputs, beside the whole block.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from lightadapt.adaptation.adaptation import Adaptation
from lightadapt.adaptation.passing import evaluating, form_of, hands_on_more, hidden_of, standing_in, watching
from lightadapt.adaptation.trials import are_near
from lightadapt.anatomy.attention import has_own_config, is_redirected, original_function, redirect, register, undo
from lightadapt.anatomy.forwards import put_forward
from lightadapt.machine.processes import is_sharded
from lightadapt.tasks import Feature, ModelView, Task

FUNCTION = "lightadapt_one_token"
FEWEST = 3
"""Tokens from which a trial tells anything."""


@dataclass(eq=False)
class LastBlock:
    """A block of which one token is computed, with the parts that need all of them.

    Attributes:
        block: the last one of the backbone.
        core: what computes its attention.
        projections: that make its keys and values.
        hidden: what the block was given, `(B, T, width)`; None where it is to compute all tokens.
    """

    block: nn.Module
    core: nn.Module
    projections: Sequence[nn.Module]
    hidden: Tensor | None = None
    _wanted: bool = False

    @contextmanager
    def reading(self, model: nn.Module) -> Iterator[None]:
        """Compute the first token alone, `(B, 1, width)`, wherever this model is called inside a `with` block.

        Other models on the same blocks compute all tokens.
        """
        if is_redirected(self.core):  # by a `with` block around this one, or by prefixes
            yield
            return
        with ExitStack() as stack:
            stack.callback(model.register_forward_pre_hook(self._begin_model).remove)
            stack.callback(model.register_forward_hook(self._end_model, always_call=True).remove)
            stack.callback(self.block.register_forward_pre_hook(self._begin_block, with_kwargs=True).remove)
            for projection in self.projections:
                stack.callback(put_forward(projection, partial(self._of_all, projection.forward)))
            _reading[self.core] = self
            stack.callback(_reading.pop, self.core)
            redirect(self.core, FUNCTION)
            stack.callback(undo, self.core)
            yield

    def _begin_model(self, model: nn.Module, args: Any) -> None:
        self._wanted = True

    def _end_model(self, model: nn.Module, args: Any, output: Any) -> None:
        self._wanted, self.hidden = False, None

    def _begin_block(self, block: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if not self._wanted:
            return None
        if args:
            self.hidden, rest = args[0], args[1:]
            return (self.hidden[:, :1], *rest), options
        name = next(iter(options))
        self.hidden = options[name]
        return args, {**options, name: options[name][:, :1]}

    def _of_all(self, forward: Callable[..., Any], x: Tensor, *args: Any, **options: Any) -> Any:
        """Keys or values of all tokens, where the block asks for those of one."""
        return forward(x if self.hidden is None else self.hidden, *args, **options)


_reading: WeakKeyDictionary[nn.Module, LastBlock] = WeakKeyDictionary()
"""What is being read, by the module that computes the attention."""
_known: WeakKeyDictionary[nn.Module, dict[Hashable, bool]] = WeakKeyDictionary()
"""Whether heads read one token of what a block gives, by their kind."""


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> Any:
    """The model's own attention for the first token, `(B, 1, heads, width)`.

    Keys and values `(B, T, heads · width)` have gone through a view for one token; their heads are told apart anew.
    """
    hidden, mask = _reading[module].hidden, attention_mask
    if hidden is not None:
        key, value = (_by_head(each, hidden.shape[1]) for each in (key, value))
        mask = mask[:, :, :1] if mask is not None and mask.dim() == 4 else mask
    return original_function(module)(module, query, key, value, mask, **options)


def _by_head(x: Tensor, tokens: int) -> Tensor:
    """`(B, T · heads, 1, width)` as `(B, heads, T, width)`."""
    rows, heads, _, width = x.shape
    return x.reshape(rows, tokens, heads // tokens, width).transpose(1, 2)


register(FUNCTION, attend)


def reading(
    adaptation: Adaptation, task: Task, features: Sequence[Feature], view: ModelView
) -> AbstractContextManager[None]:
    """A block in which the model computes no more than its head reads, where that is one token.

    Args:
        features: what the task infers from, one at least; the first are tried where that is not known yet.
    """
    last = try_to_read(adaptation, task, features, view)
    return nullcontext() if last is None else last.reading(adaptation.model)


def try_to_read(adaptation: Adaptation, task: Task, features: Sequence[Feature], view: ModelView) -> LastBlock | None:
    """The last block, where the head reads its first token alone and it can be computed so; tried once a kind."""
    last = last_block(adaptation)
    if last is None or type(task).infer is not Task.infer or is_redirected(last.core):
        return None
    kinds, kind = _known.setdefault(last.block, {}), _kind(adaptation, task)
    if kind not in kinds and (found := _try(adaptation, last, task, features[:2], view)) is not None:
        kinds[kind] = found
    return last if kinds.get(kind) else None


def is_known_to_read(block: nn.Module, adaptation: Adaptation, task: Task) -> bool:
    """Whether a head reads one token of this last block, as the trial of its kind found."""
    return _known.get(block, {}).get(_kind(adaptation, task), False)


def _kind(adaptation: Adaptation, task: Task) -> Hashable:
    """Equal for adaptations whose heads read alike."""
    prototypes = adaptation.head.prototypes
    pooling = None if prototypes is None else repr(prototypes.pooling)
    return type(adaptation.model), type(task), adaptation.design.way, pooling


def last_block(adaptation: Adaptation) -> LastBlock | None:
    """The last block of the one stack of a model; None where keys and values are not made by modules of their own."""
    anatomy, model, blocks = adaptation.design.blueprint.anatomy, adaptation.model, adaptation.first_stack
    if len(anatomy.stacks) > 1 or is_sharded(model) or not blocks:
        return None
    if adaptation.design.quantization is not None:  # its time goes into unpacking weights, for however few tokens
        return None
    described = anatomy.blocks[-1]
    if len(described.attentions) != 1:
        return None
    (attention,) = described.attentions
    projections = (*attention.key, *attention.value)
    if attention.fused or attention.across or attention.core is None or len(set(projections)) != 2:
        return None
    core = model.get_submodule(attention.core)
    if not has_own_config(core):
        return None
    return LastBlock(blocks[-1], core, [model.get_submodule(path) for path in projections])


def _try(
    adaptation: Adaptation, last: LastBlock, task: Task, features: Sequence[Feature], view: ModelView
) -> bool | None:
    """Whether the head reads one token and the block computes it; None where these features do not tell."""
    model, blocks = adaptation.model, adaptation.first_stack
    assert blocks
    batch = task.collate([replace(feature, targets={}) for feature in features], view)
    batch = {name: value.to(model.device) for name, value in batch.items()}
    with evaluating(model.modules()), torch.no_grad():
        try:
            with watching(blocks) as seen:
                whole = task.logits_of(model(**batch)).float().cpu().numpy()
            outputs = [output for _, output in seen]
            if [number for number, _ in seen] != list(range(len(blocks))) or any(map(hands_on_more, outputs)):
                return False
            if whole.ndim != 2 or hidden_of(outputs[-1]).dim() != 3:
                return False
            if hidden_of(outputs[-1]).shape[1] < FEWEST:
                return None
            if not (reads := _reads_first(model, task, batch, blocks, outputs)):
                return reads
            with last.reading(model):
                alone = task.logits_of(model(**batch)).float().cpu().numpy()
        except Exception:  # whatever a model makes of it: it computes whole blocks, which shows its own errors
            return False
    return are_near(alone, whole, hidden_of(outputs[-1]).dtype)


def _reads_first(
    model: Any, task: Task, batch: dict[str, Tensor], blocks: Sequence[nn.Module], outputs: Sequence[Any]
) -> bool | None:
    """Whether what the head gives follows the first of the hidden states and no other; None where it follows none.

    Args:
        outputs: of the blocks, for these inputs.
    """
    like, forms = hidden_of(outputs[-1]), [form_of(output) for output in outputs]
    generator = torch.Generator().manual_seed(0)
    first, others, all_others = (torch.randn(like.shape, generator=generator).to(like) for _ in range(3))
    others[:, :1] = first[:, :1]
    given = []
    for hidden in (first, others, all_others, first[:, :1]):
        with standing_in(blocks, forms, hidden):
            given.append(task.logits_of(model(**batch)).float().cpu().numpy())
    if np.array_equal(given[0], given[2]):
        return None
    return np.array_equal(given[0], given[1]) and are_near(given[3], given[0], like.dtype)
