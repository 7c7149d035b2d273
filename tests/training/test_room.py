"""A GPU without room for a batch: it is computed in pieces, to the same weights; shown by a model that says so."""

from __future__ import annotations

import pytest
import torch
from learned import assert_equal, state_of, without_dropout
from transformers import TrainerCallback

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


# ---- what a loss is divided by


TEXTS = [{"source": f"a b {'c ' * (n % 5)}", "target": "fine " * (1 + n % 7)} for n in range(16)]
TAGS = ("O", "B-X", "I-X")
WORDS = [{"tokens": ["a"] * (2 + n % 6), "tags": [TAGS[k % 3] for k in range(2 + n % 6)]} for n in range(16)]
LABELS = [{"text": "a " * (1 + n % 6), "label": "ab"[n % 5 == 0]} for n in range(16)]
WEIGHED = {
    "classes": ("bert", lambda: la.Classification(class_weights={"a": 1.0, "b": 7.0}), LABELS),
    "words": ("bert", lambda: la.NER(), WORDS),
    "tokens": ("llama", lambda: la.Summarization(max_new_tokens=4), TEXTS),
}
"""Losses that are divided by other things than records, so that two halves of a batch do not count the same."""


@pytest.mark.parametrize("accumulated", [1, 3])
@pytest.mark.parametrize("name", WEIGHED)
def test_the_gradient_of_a_step_is_that_of_whole_batches(tiny, name, accumulated):
    """Also where memory gives out in the last batch of a step, when the gradients of the others are there already."""
    model, task, records = WEIGHED[name]
    found = []
    for fails in (False, True):
        adapted = la.adapt(tiny(model), task(), method="lora", dtype="float32")
        without_dropout(adapted.model)
        with torch.no_grad():
            for key, tensor in adapted.model.named_parameters():
                if "lora_B" in key:  # else nothing reaches the other half
                    tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
        gradients = Gradients()
        handle = fail_in(adapted.model, accumulated) if fails else None
        args = {**ARGS, "gradient_accumulation_steps": accumulated, "max_steps": 1}
        options = {"cache": False, "args": args, "callbacks": [gradients], "batch_tokens": 60}
        if fails:
            with pytest.warns(UserWarning, match="in 2 pieces"):
                adapted.fit(records, **options)
            handle.remove()
        else:
            adapted.fit(records, **options)
        found.append(gradients.kept)
    whole, pieces = found
    assert whole.keys() == pieces.keys() != set()
    assert any((gradient != 0).any() for gradient in whole.values())
    for key, gradient in whole.items():
        torch.testing.assert_close(pieces[key], gradient, rtol=1e-4, atol=1e-6)


class Gradients(TrainerCallback):
    """Keeps the gradients of the last step."""

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.kept = {key: each.grad.clone() for key, each in model.named_parameters() if each.grad is not None}


def fail_in(model, number):
    """Let the memory be out in the backward pass of so many-th batch."""
    seen = []

    def fail(gradient):
        seen.append(True)
        if len(seen) == number:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return gradient

    def watch(module, args, output):
        if torch.is_grad_enabled():
            output.requires_grad_().register_hook(fail)

    return model.get_input_embeddings().register_forward_hook(watch)


def test_with_dropout_runs_of_one_seed_stay_the_same(classifier, messages):
    """What is drawn for a batch that had no room is gone, in each of them alike; whoever draws later is not touched."""
    found = []
    for _ in range(2):
        adapted = classifier(method="bottleneck")
        handle = fail_in(adapted.model, 2)
        torch.manual_seed(5)
        with pytest.warns(UserWarning, match="in 2 pieces"):
            history = adapted.fit(messages[:32], epochs=2, cache=False, base_dropout=True, args=ARGS)
        handle.remove()
        found.append((history.losses, state_of(adapted), torch.rand(3)))
    (losses, state, drawn), (again, other, after) = found
    assert losses == again
    assert_equal(state, other)
    torch.manual_seed(5)
    assert torch.equal(drawn, after)
    assert torch.equal(drawn, torch.rand(3))


def test_dropout_differs_between_the_pieces_of_a_batch(classifier, messages):
    masks = []

    def note(module, args, output):
        if module.training:
            masks.append((output == 0).flatten()[:200].tolist())

    adapted = classifier(method="bottleneck")
    handle = fail_in(adapted.model, 1)
    adapted.model.bert.embeddings.dropout.p = 0.5
    adapted.model.bert.embeddings.dropout.register_forward_hook(note)
    with pytest.warns(UserWarning, match="in 2 pieces"):
        adapted.fit(messages[:8], cache=False, base_dropout=True, args={**ARGS, "max_steps": 1})
    handle.remove()
    failed, *pieces = masks
    assert len(pieces) == 2
    assert pieces[0] != pieces[1]
    assert failed not in pieces
