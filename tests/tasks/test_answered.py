"""Losses of records that do not speak of all outputs."""

from __future__ import annotations

import pytest
import torch

from lightadapt.tasks.encoding.features import IGNORED
from lightadapt.tasks.losses.answered import (
    binary_cross_entropy_among,
    cross_entropy_among,
    distance_to_before,
    tag_cross_entropy_among,
)

NAN = float("nan")


@pytest.fixture
def logits():
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)


def test_one_answer_is_told_from_those_that_are_spoken_of(logits):
    answered = torch.tensor([[True, True, False, False]] * 2 + [[True] * 4])
    labels = torch.tensor([0, 1, 3])
    loss = cross_entropy_among(logits, labels, answered)
    expected = sum(
        -logits.detach()[row, answered[row]].log_softmax(-1)[labels[row]]
        if row < 2
        else -logits.detach()[row].log_softmax(-1)[3]
        for row in range(3)
    )
    assert float(loss) == pytest.approx(float(expected) / 3)
    loss.backward()
    assert not logits.grad[:2, 2:].any()
    assert logits.grad[2].all()


def test_several_answers_go_by_the_probabilities_of_before_where_nothing_is_said(logits):
    labels = torch.tensor([[1.0, 0.0, 0.0, 0.0]] * 3)
    answered = torch.tensor([[True, True, False, False]] * 3)
    before = torch.tensor([[0.0, 0.0, 2.0, NAN]] * 3)
    chance = logits.detach().sigmoid()
    target = float(torch.tensor(2.0).sigmoid())
    terms = [-chance[:, 0].log(), -(1 - chance[:, 1]).log()]
    alone = torch.stack(terms).mean()
    assert float(binary_cross_entropy_among(logits, labels, answered, None)) == pytest.approx(float(alone))
    terms.append(-(target * chance[:, 2].log() + (1 - target) * (1 - chance[:, 2]).log()))
    held = binary_cross_entropy_among(logits, labels, answered, before)
    assert float(held) == pytest.approx(float(torch.stack(terms).mean()))
    held.backward()
    assert logits.grad.isfinite().all()
    assert not logits.grad[:, 3].any()


def test_outside_may_be_what_a_record_does_not_speak_of():
    logits = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    answered = torch.tensor([[True, True, False, False]])
    labels = torch.tensor([[0, 1, IGNORED]])
    chances = logits.detach().softmax(-1)[0]
    outside, tag = chances[0, 0] + chances[0, 2] + chances[0, 3], chances[1, 1]
    loss = tag_cross_entropy_among(logits, labels, answered, 0)
    assert float(loss) == pytest.approx(float(-(outside.log() + tag.log()) / 2))
    loss.backward()
    assert not logits.grad[0, 2].any()


def test_the_distance_to_before_is_over_the_outputs_of_then(logits):
    before = torch.tensor([[0.0, 1.0, -1.0, NAN]] * 3)
    old, now = before[:, :3].softmax(-1), logits.detach()[:, :3].softmax(-1)
    expected = (old * (old / now).log()).sum(-1)
    assert float(distance_to_before(logits, before)) == pytest.approx(float(expected.mean()), abs=1e-6)
    some = distance_to_before(logits, before, torch.tensor([True, False, False]))
    assert float(some) == pytest.approx(float(expected[0]), abs=1e-6)
    some.backward()
    assert logits.grad.isfinite().all()
    assert float(distance_to_before(before.nan_to_num(), before)) == pytest.approx(0, abs=1e-6)
