"""A GPU without room for a batch: it is computed in pieces, to the same weights; shown by a model that says so."""

from __future__ import annotations

import pytest
import torch
from learned import state_of, without_dropout

import lightadapt as la

ARGS = {"disable_tqdm": True, "optim": "sgd", "max_grad_norm": 0.0}


@pytest.fixture
def small(classifier):
    """A classifier without dropout, whose forward has no room for more than so many records in training."""

    def make(records=None, late=False):
        adapted = classifier(method="bottleneck")
        without_dropout(adapted.model)
        sizes = []

        def limit(module, args, kwargs, output=None):
            size = len(kwargs["input_ids"])
            if records is not None and size > records and module.training:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")
            sizes.append(size)

        adapted.model.register_forward_pre_hook(limit, with_kwargs=True)
        adapted.sizes = sizes
        return adapted

    return make


@pytest.mark.parametrize("accumulated", [1, 2])
@pytest.mark.parametrize("room", [5, 1])
def test_pieces_give_the_weights_of_whole_batches(small, messages, room, accumulated):
    args = {**ARGS, "gradient_accumulation_steps": accumulated, "per_device_train_batch_size": 8}
    whole, pieces = small(), small(room)
    losses = whole.fit(messages[:24], epochs=2, cache=False, args=args).losses
    with pytest.warns(UserWarning, match="The GPU is out of memory: batches are computed in 2 pieces"):
        found = pieces.fit(messages[:24], epochs=2, cache=False, args=args).losses
    assert max(pieces.sizes) <= room < max(whole.sizes)
    assert [loss for _, loss in found] == pytest.approx([loss for _, loss in losses], rel=1e-4)
    for name, value in state_of(pieces).items():
        torch.testing.assert_close(value, state_of(whole)[name], rtol=1e-4, atol=1e-6)


def test_memory_that_is_out_in_the_way_back_leaves_no_half_gradients(small, messages):
    whole, pieces = small(), small()
    failed = []

    def fail_once(gradient):
        if not failed:
            failed.append(True)
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return gradient

    pieces.model.bert.embeddings.register_forward_hook(
        lambda module, args, output: output.requires_grad_().register_hook(fail_once) and None
    )
    whole.fit(messages[:16], epochs=1, cache=False, args=ARGS)
    with pytest.warns(UserWarning, match="in 2 pieces"):
        pieces.fit(messages[:16], epochs=1, cache=False, args=ARGS)
    assert failed
    for name, value in state_of(pieces).items():
        torch.testing.assert_close(value, state_of(whole)[name], rtol=1e-4, atol=1e-6)


def test_without_room_for_one_record_it_is_said_what_helps(small, messages):
    said = r"no memory for a single record of \d+ tokens: CUDA out of memory\. .*activation_checkpointing"
    with pytest.warns(UserWarning, match="pieces"), pytest.raises(la.LightAdaptError, match=said):
        small(0).fit(messages[:8], epochs=1, cache=False, args=ARGS)


def test_pieces_go_with_cached_blocks(small, messages):
    adapted = small(4)
    adapted.model.train()
    with pytest.warns(UserWarning, match="pieces"):
        history = adapted.fit(messages[:24], epochs=2, cache="auto", args=ARGS)
    assert history.steps == 4
