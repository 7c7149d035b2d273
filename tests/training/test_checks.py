"""What would fail in silence is an error, before training or at its first step; a preview shows what is learned."""

from __future__ import annotations

import pytest
from learned import assert_equal
from torch import nn

import lightadapt as la
from lightadapt.tasks import TASKS
from lightadapt.training import checks


@pytest.fixture
def adapted(tiny, messages):
    return la.adapt(tiny("bert"), "classification", labels=messages)


def test_a_sound_adaptation_passes(adapted, messages):
    before = {name: p.clone() for name, p in adapted.model.named_parameters()}
    assert len(adapted.check()) == 4
    assert len(adapted.check(messages)) == 4
    assert_equal(dict(adapted.model.named_parameters()), before)
    assert all(p.grad is None for p in adapted.model.parameters())


def test_a_frozen_head_is_refused(adapted, messages):
    adapted.model.classifier.weight.requires_grad_(False)
    for trial in (adapted.check, lambda: adapted.fit(messages, epochs=1)):
        with pytest.raises(la.LightAdaptError, match=r"are frozen, in the head for example classifier\.weight"):
            trial()


def test_half_precision_is_refused(adapted, messages):
    adapted.model.half()
    for trial in (adapted.check, lambda: adapted.fit(messages, epochs=1)):
        with pytest.raises(la.LightAdaptError, match="half precision"):
            trial()


class Cut(nn.Module):
    """Lets no gradient through."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *args, **kwargs):
        return self.inner(*args, **kwargs).detach()


def test_a_loss_that_does_not_reach_the_adapter_is_refused(adapted, messages):
    adapted.model.bert.pooler = Cut(adapted.model.bert.pooler)
    for trial in (adapted.check, lambda: adapted.fit(messages, epochs=1, args={"disable_tqdm": True})):
        with pytest.raises(la.LightAdaptError, match="No gradient reaches"):
            trial()


def test_one_block_without_gradient_is_refused(adapted, messages):
    layer = adapted.model.bert.encoder.layer[0]
    layer.register_forward_hook(lambda module, args, output: output.detach())
    with pytest.raises(la.LightAdaptError, match=r"No gradient reached \d+ of 36 inserted tensors in 8 steps"):
        adapted.fit(messages, epochs=20, batch_tokens=200, args={"disable_tqdm": True})
    with pytest.raises(la.LightAdaptError, match=r"No gradient reached \d+ of 36 inserted tensors in 8 steps"):
        adapted.check()


@pytest.mark.parametrize(("rate", "outcome"), [(1e-3, None), (1e-2, None), (2e-5, "warns"), (5.0, "raises")])
def test_a_learning_rate_that_is_far_off_is_said(rate, outcome):
    if outcome is None:
        checks.check_learning_rate(rate, 1e-3, "lora")
    elif outcome == "warns":
        with pytest.warns(UserWarning, match="1/50 of the usual rate of method 'lora', 0.001"):
            checks.check_learning_rate(rate, 1e-3, "lora")
    else:
        with pytest.raises(la.LightAdaptError, match="5,000 times"):
            checks.check_learning_rate(rate, 1e-3, "lora")


@pytest.mark.usefixtures("plain_processor")
def test_a_model_that_looks_at_padding_is_refused(adapted):
    def forget(module, args, kwargs):
        kwargs.pop("attention_mask", None)
        return args, kwargs

    adapted.model.bert.register_forward_pre_hook(forget, with_kwargs=True)
    with pytest.raises(la.LightAdaptError, match="gives other outputs for a text in a batch"):
        adapted.check()


def test_masked_labels_and_a_missing_end_are_refused(adapted):
    features = adapted.runner.encode(adapted.runner.task.parse(adapted.task.read(adapted.task.samples())), targets=True)
    for feature in features:
        feature.targets = {"labels": [-100] * len(feature)}
    with pytest.raises(la.LightAdaptError, match="Every label is masked"):
        checks.check_targets(features, adapted.task, adapted.runner.view)


@pytest.mark.parametrize("name", sorted(set(TASKS) - {"generation", "summarization", "translation", "dialogue"}))
def test_every_task_brings_samples_that_it_can_learn(tiny, name):
    task = TASKS[name]()
    labels = {} if not hasattr(task, "labels") else {"labels": ["one", "two"]}
    adapted = la.adapt(tiny("bert"), name, **labels)
    assert len(adapted.check()) == 4


def test_a_preview_marks_what_is_learned(tiny, capsys):
    ner = la.adapt(tiny("bert"), "ner", labels=["PERSON"])
    ner.preview([{"tokens": ["Maria", "came"], "tags": ["B-PERSON", "O"]}])
    assert "/B-PERSON" in capsys.readouterr().out
    qa = la.adapt(tiny("bert"), "qa")
    record = {"question": "Who?", "context": "Maria came.", "answers": {"text": ["Maria"], "answer_start": [0]}}
    qa.preview([record, {**record, "answers": {"text": [], "answer_start": []}}])
    shown = capsys.readouterr().out
    assert "⟦maria⟧" in shown
    assert "no answer" in shown


def test_a_preview_needs_no_labels_and_says_what_is_cut(tiny, messages, capsys):
    adapted = la.adapt(tiny("bert"), "classification")
    adapted.preview([{**messages[0], "text": "word " * 100}, *messages[1:4]], n=2)
    shown = capsys.readouterr().out
    assert shown.count("label: ") == 2
    assert "Note: 1 of 2 texts are longer than 66 tokens" in shown
    assert adapted.labels is None
