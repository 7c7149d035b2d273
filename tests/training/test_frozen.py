"""The frozen part of a model computes as at inference while the rest learns."""

from __future__ import annotations

import pytest
import torch
from test_trunk_cache import ENTITIES, EPOCHS, PAIRS, QUIET
from test_trunk_cache import run as losses_of

import lightadapt as la
from lightadapt.training.frozen import FrozenBase


def training_modules(model) -> set[str]:
    return {path for path, module in model.named_modules() if module.training}


@pytest.mark.parametrize("name", ["bert", "bart", "llama", "gpt2"])
def test_dropout_is_off_in_the_frozen_base_alone(tiny, name):
    """The model gives the same twice, and its head and adapter are in training mode."""
    adapted = la.adapt(tiny(name), "generation" if name != "bert" else "ner", la.LoRA(dropout=0.5), labels=None)
    adapted.model.train()
    with FrozenBase(adapted.runner.adaptation) as frozen:
        frozen.rest()
    on = training_modules(adapted.model)
    assert any("lora_dropout" in path for path in on)
    blocks = [path for block in adapted.runner.adaptation.base.blueprint.anatomy.blocks for path in block.paths]
    assert not on & set(blocks)
    if name == "bert":
        assert {"", "dropout", "classifier"} <= on
        assert "bert.embeddings.dropout" not in on


def test_blocks_that_full_trains_keep_their_dropout(tiny):
    adapted = la.adapt(tiny("bert"), "ner", "full", layers="last:1", labels=["LOC"])
    adapted.model.train()
    with FrozenBase(adapted.runner.adaptation) as frozen:
        frozen.rest()
    on = training_modules(adapted.model)
    assert "bert.encoder.layer.2.output.dropout" in on
    assert "bert.encoder.layer.1.output.dropout" not in on
    everything = la.adapt(tiny("bert"), "ner", "full", labels=["LOC"])
    with FrozenBase(everything.runner.adaptation) as frozen:
        assert frozen.modules == []


@pytest.mark.parametrize("name", ["bert", "bart"])
def test_checkpointing_computes_anew_without_dropout(tiny, name):
    """Blocks that are computed anew give the losses of blocks that are kept, though the model has dropout."""
    task, data = ("ner", ENTITIES) if name == "bert" else ("generation", PAIRS)
    plain, _ = losses_of(tiny, name, task, data, cache=False, layers=None)
    adapted = la.adapt(tiny(name), task)
    torch.manual_seed(0)
    args = {**QUIET, "per_device_train_batch_size": 6, "gradient_checkpointing": True}
    history = adapted.fit(data, epochs=EPOCHS, args=args)
    losses = torch.tensor([loss for _, loss in history.losses])
    torch.testing.assert_close(losses, plain, rtol=1e-4, atol=1e-5)
