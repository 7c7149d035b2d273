"""Batches of training and of inference: every record once, little padding, no batch empty."""

from __future__ import annotations

import pytest

from lightadapt.adaptation.batches import sorted_batches
from lightadapt.training.batching import TokenBudgetBatches

LENGTHS = [5 + (7 * number) % 60 for number in range(500)]


def test_batches_hold_every_record_once_and_little_padding():
    batches = list(TokenBudgetBatches(LENGTHS, batch_tokens=256, seed=0))
    assert sorted(index for batch in batches for index in batch) == list(range(len(LENGTHS)))
    tokens = [sum(LENGTHS[index] for index in batch) for batch in batches]
    padded = [len(batch) * max(LENGTHS[index] for index in batch) for batch in batches]
    assert 1 - sum(tokens) / sum(padded) < 0.08
    assert max(tokens) < 1.5 * 256


def test_batches_depend_on_seed_and_epoch_alone_and_keep_their_number():
    batches, again = (TokenBudgetBatches(LENGTHS, batch_tokens=256, seed=3) for _ in range(2))
    first = list(batches)
    assert first == list(again)
    for epoch in (1, 2, 3):
        batches.set_epoch(epoch)
        order = list(batches)
        assert order != first
        assert len(order) == len(batches) == len(first)


@pytest.mark.parametrize("lengths", [[1], [500, 1, 1], [9] * 7, [1000, 1, 1, 1000, 1]])
def test_no_batch_is_empty(lengths):
    batches = TokenBudgetBatches(lengths, batch_tokens=4, seed=0)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(batches)
    assert len(list(batches)) == len(batches)


def test_inference_batches_keep_the_budget():
    batches = list(sorted_batches(LENGTHS, 256))
    assert sorted(index for batch in batches for index in batch) == list(range(len(LENGTHS)))
    assert all(len(batch) * max(LENGTHS[index] for index in batch) <= 256 for batch in batches)
