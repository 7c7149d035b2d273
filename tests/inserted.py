"""Methods inserted into bare models, without a task."""

from __future__ import annotations

import copy

import torch
from learned import stir
from transformers import BertConfig, LlamaConfig

import lightadapt as la
from lightadapt import peft_bridge
from lightadapt.anatomy import read_anatomy
from lightadapt.methods import resolve_method

BERT = BertConfig(
    vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, num_labels=3
)
LLAMA = LlamaConfig(
    vocab_size=99,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    pad_token_id=0,
)
BOTTLENECKS = {
    "pfeiffer": la.Bottleneck(reduction=2),
    "houlsby": la.Bottleneck(placement="houlsby", reduction=2),
    "parallel": la.Bottleneck(placement="parallel", reduction=2),
}
"""Wide ones: of the two units that 32 / 16 gives, both may be dead by chance."""
IDENTITY = ("lora", "dora", "pfeiffer", "houlsby", "parallel", "ia3", "bitfit", "layernorm")
"""Methods that change nothing as long as they have learned nothing."""
INSERTING = (*IDENTITY, "prefix", "prompt")


def build(model_class, config, method, seed=0):
    """A model with a method inserted, in eval mode; its weights depend on the seed alone."""
    torch.manual_seed(seed)
    model = model_class(copy.deepcopy(config)).eval()
    plan = resolve_method(method).plan(read_anatomy(model_class, config), None)
    torch.manual_seed(1)
    peft_bridge.insert(model, plan.config)
    return model


def shake(model, size=0.1):
    """Give the adapter something that it may have learned."""
    names = peft_bridge.Adapter(model, peft_bridge.ADAPTER).parameters
    stir([parameter for name, parameter in model.named_parameters() if name in names], size, seed=2)
    return model


def tokens(rows=2, length=7):
    return torch.arange(rows * length).reshape(rows, length) % 90 + 3
