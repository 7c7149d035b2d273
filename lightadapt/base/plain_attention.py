"""Which kernel computes attention where they differ in speed: in bfloat16 on a CPU.

torch's fused kernel takes half of a training step there, for its backward pass, while over long texts its forward pass
alone is the faster one on several cores: a quarter of the time is saved for texts of 400 tokens (`benchmarks/
predict_speed.py --join 20 --threads 2`), and nothing on one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

from lightadapt.base import float_softmax
from lightadapt.base.design import Design

PLAIN_UP_TO = 1024
"""Positions of a model up to which it trains with plain attention, which keeps every score."""
FUSED_FROM = 192
"""Tokens of a text from which the fused kernel predicts faster."""
PLAIN = ("eager", float_softmax.NAME)
"""What a model computes attention with that is kept off the fused kernel."""
_fused: WeakKeyDictionary[PreTrainedModel, str] = WeakKeyDictionary()
"""What the models compute attention with that were kept off it."""


def keep_attention_plain(model: PreTrainedModel, design: Design) -> None:
    """Keep attention off the fused kernel, where its backward pass is slow."""
    longest = design.blueprint.anatomy.positions
    slow = design.dtype == torch.bfloat16 and design.device.type == "cpu"
    if slow and longest is not None and longest <= PLAIN_UP_TO:
        _fused[model] = model.config._attn_implementation
        model.set_attn_implementation(float_softmax.NAME if float_softmax.suits(model) else "eager")


@contextmanager
def attention_for(model: PreTrainedModel, tokens: int) -> Iterator[None]:
    """The kernel that predicts fastest for texts of so many tokens, inside a `with` block without gradients."""
    pays = tokens >= FUSED_FROM and torch.get_num_threads() > 1
    plain = model.config._attn_implementation
    kernel = _fused.get(model, plain) if pays else plain
    if kernel == plain or plain not in PLAIN:
        yield
        return
    model.set_attn_implementation(kernel)
    try:
        yield
    finally:
        model.set_attn_implementation(plain)
