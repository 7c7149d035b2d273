"""Batches of training and of inference: every record once, little padding, no batch empty."""

from __future__ import annotations

from collections import Counter

import pytest

import lightadapt as la
from lightadapt import sample
from lightadapt.adaptation.batches import sorted_batches
from lightadapt.tasks import ModelView
from lightadapt.tasks.encoding.widths import next_width
from lightadapt.training.batching import TokenBudgetBatches

LENGTHS = [5 + (7 * number) % 60 for number in range(500)]


def test_batches_hold_every_record_once_and_little_padding():
    batches = list(TokenBudgetBatches(LENGTHS, batch_tokens=256, seed=0))
    assert sorted(index for batch in batches for index in batch) == list(range(len(LENGTHS)))
    tokens = [sum(LENGTHS[index] for index in batch) for batch in batches]
    padded = [len(batch) * max(LENGTHS[index] for index in batch) for batch in batches]
    assert 1 - sum(tokens) / sum(padded) < 0.08
    assert max(tokens) < 1.5 * 256


def test_batches_come_in_few_shapes_the_same_in_every_epoch():
    lengths = [5 + number * 7919 % 91 for number in range(2000)]
    batches = TokenBudgetBatches(lengths, batch_tokens=512, seed=0)

    def shapes() -> Counter[tuple[int, int]]:
        return Counter((len(batch), next_width(max(lengths[index] for index in batch))) for batch in batches)

    first = shapes()
    assert len(batches) > 100
    assert len(first) <= len({next_width(length) for length in lengths}) + 1
    batches.set_epoch(1)
    assert shapes() == first


def test_records_of_a_width_meet_others_in_every_epoch():
    batches = TokenBudgetBatches([7] * 64, batch_tokens=56, seed=0)
    first = {frozenset(batch) for batch in batches}
    batches.set_epoch(1)
    assert first.isdisjoint(frozenset(batch) for batch in batches)


def test_widths_are_few_and_hardly_longer():
    widths = {length: next_width(length) for length in range(1, 1025)}
    assert all(length <= width < 1.13 * length for length, width in widths.items())
    assert all(next_width(width) == width for width in widths.values())
    assert len({width for width in widths.values() if 32 < width <= 1024}) == 5 * 8


def test_few_widths_are_within_what_the_model_can_read(tokenizers):
    tokenizer = tokenizers("word")
    view = ModelView(tokenizer, max_length=50, family="encoder", few_widths=True)
    assert [view.width(length) for length in (9, 17, 49, 50)] == [9, 18, 50, 50]
    assert view.width(60) == 60, "a task may cut elsewhere"
    assert ModelView(tokenizer, max_length=50, family="encoder").width(17) == 17


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


def test_a_run_counts_the_shapes_of_its_batches(tiny):
    adapted = la.adapt(tiny("bert"), task="classification")
    history = adapted.fit(sample.records("train")[:200], epochs=2, batch_tokens=200, recipe="standard")
    assert 1 < history.settings["batch_shapes"] <= 25
    assert history.steps > 25
    assert history.padding < 0.08
