"""The head of an adaptation through its life: nameless, found, adopted, fresh, learned."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForSequenceClassification

import lightadapt as la
from lightadapt.heads.head import HeadState

CHOICES = [
    {"question": "Where is it?", "choices": ["in Rome", "too late"], "answer": 0},
    {"question": "When is it?", "choices": ["in Rome", "too late"], "answer": 1},
]
QUIET = {"disable_tqdm": True}


def test_a_head_without_names_keeps_what_it_has_learned(tiny):
    adapted = la.adapt(tiny("bert"), "multiple-choice")
    assert adapted.runner.adaptation.head.state is HeadState.FRESH
    adapted.fit(CHOICES, epochs=1, args=QUIET)
    weight = adapted.model.get_submodule("classifier").weight
    before = weight.detach().clone()
    adapted.runner.settle(adapted.runner.prepare(CHOICES).task)
    assert adapted.model.get_submodule("classifier").weight is weight
    assert torch.equal(weight, before)
    assert adapted.runner.adaptation.head.state is HeadState.LEARNED


def test_labels_that_data_names_make_a_nameless_head_fresh_and_then_learned(tiny, messages):
    adapted = la.adapt(tiny("bert"), "classification")
    head = adapted.runner.adaptation.head
    assert head.state is HeadState.NAMELESS
    adapted.runner.settle(adapted.runner.prepare(messages).task)
    assert head.state is HeadState.FRESH
    adapted.fit(messages, epochs=1, args=QUIET)
    assert head.state is HeadState.LEARNED


@pytest.fixture
def trained(tiny, tmp_path):
    """A checkpoint whose head is trained."""

    def make(**options):
        AutoModelForSequenceClassification.from_pretrained(tiny("bert"), **options).save_pretrained(tmp_path)
        la.adapt(tiny("bert"), "classification", labels=["x", "y"]).tokenizer.save_pretrained(tmp_path)
        return tmp_path

    return make


def records(*labels):
    return [{"text": f"text {number}", "label": label} for number, label in enumerate(labels)]


NAMED = {"id2label": {0: "no", 1: "yes"}, "label2id": {"no": 0, "yes": 1}}


@pytest.mark.parametrize(
    ("found", "state", "kept"),
    [
        (("no", "yes"), HeadState.LEARNED, ("no", "yes")),
        (("no", "yes", "perhaps"), HeadState.LEARNED, ("no", "yes")),
        (("up", "down"), HeadState.FRESH, ()),
    ],
)
def test_names_that_came_with_the_checkpoint_hold_until_data_says_otherwise(trained, found, state, kept):
    adapted = la.adapt(trained(**NAMED), "classification")
    head = adapted.runner.adaptation.head
    assert head.state is HeadState.ADOPTED
    assert adapted.labels == ["no", "yes"]
    before = dict(zip(adapted.runner.outputs, head.modules[0].weight.detach().clone(), strict=True))
    adapted.runner.settle(adapted.runner.prepare(records(*found)).task)
    after = dict(zip(adapted.runner.outputs, head.modules[0].weight.detach(), strict=True))
    assert head.state is state
    assert set(after) == set(found)
    assert {name for name in found if name in before and torch.equal(after[name], before[name])} == set(kept)


@pytest.mark.parametrize(("labels", "state"), [(("a", "b"), HeadState.LEARNED), (("a", "b", "c"), HeadState.FRESH)])
def test_a_trained_head_without_names_is_kept_where_it_has_the_size(trained, labels, state):
    adapted = la.adapt(trained(num_labels=2), "classification")
    head = adapted.runner.adaptation.head
    assert head.state is HeadState.FOUND
    before = head.modules[0].weight.detach().clone()
    adapted.runner.settle(adapted.runner.prepare(records(*labels)).task)
    assert head.state is state
    assert torch.equal(head.modules[0].weight, before) == (state is HeadState.LEARNED)
