"""Predictions with the adapter in the weights: the same outputs, and weights that are untouched afterwards."""

from __future__ import annotations

import threading

import pytest
import torch
from learned import assert_equal
from test_lean_lora import make

import lightadapt as la
from lightadapt import peft_bridge
from lightadapt.adaptation import prediction
from lightadapt.peft_bridge import folding

TEXTS = [f"a text of {number} words{' and more' * (number % 6)}" for number in range(60)]


@pytest.fixture
def folds(monkeypatch) -> list[bool]:
    """Fold for any number of tokens; the list tells each time whether it was done."""
    monkeypatch.setattr(folding, "FOLD_FROM", 0)
    seen: list[bool] = []
    run = prediction.run_model

    def note(model, *rest, **options):
        layers = [layer for layer in model.modules() if isinstance(layer, peft_bridge.BaseTunerLayer)]
        seen.append(bool(layers) and all(layer.merged_adapters for layer in layers))
        return run(model, *rest, **options)

    monkeypatch.setattr(prediction, "run_model", note)
    return seen


def scores(adapted) -> torch.Tensor:
    return torch.tensor([list(each.values()) for each in adapted.predict(TEXTS, scores=True)])


@pytest.mark.usefixtures("plain_processor")
@pytest.mark.parametrize("name", ["bert", "gpt2"])
@pytest.mark.parametrize("method", ["lora", "dora", "rslora"])
def test_predictions_are_the_same_and_weights_untouched(tiny, folds, monkeypatch, name, method):
    adapted = make(tiny, name, method)
    before = {key: value.clone() for key, value in adapted.model.state_dict().items()}
    folded = scores(adapted)
    monkeypatch.setattr(folding, "FOLD_FROM", 10**9)
    plain = scores(adapted)
    assert folds == [True, False]
    torch.testing.assert_close(folded, plain, rtol=1e-4, atol=1e-6)
    assert_equal(adapted.model.state_dict(), before)


@pytest.mark.parametrize(
    ("method", "options"),
    [("bottleneck", {}), ("ia3", {}), ("probe", {}), ("full", {}), ("lora", {"dtype": "bfloat16"})],
    ids=str,
)
def test_what_would_not_be_exact_is_not_folded(tiny, folds, method, options):
    make(tiny, "bert", method, **options).predict(TEXTS)
    assert folds == [False]


def test_quantized_weights_are_not_folded(tiny, folds):
    pytest.importorskip("bitsandbytes")
    make(tiny, "bert", quantize="8bit").predict(TEXTS)
    assert folds == [False]


def test_a_disabled_adapter_stays_disabled(tiny, folds):
    adapted = make(tiny)
    with adapted.disable():
        off = scores(adapted)
    assert folds == [False]
    assert not torch.allclose(off, scores(adapted))


@pytest.mark.usefixtures("plain_processor")
def test_of_several_adaptations_the_one_in_use_is_folded(tiny, folds):
    adapted = make(tiny)
    first = scores(adapted)
    adapted.add("second", method=la.LoRA(rank=2), labels=["yes", "no"])
    adapted.use("second")
    second = scores(adapted)
    adapted.use("default")
    torch.testing.assert_close(scores(adapted), first)
    assert folds == [True] * 3
    assert not torch.allclose(first, second)


@pytest.mark.usefixtures("plain_processor")
def test_an_error_in_the_middle_leaves_the_weights_as_they_were(tiny, folds, monkeypatch):
    adapted = make(tiny)
    before = {key: value.clone() for key, value in adapted.model.state_dict().items()}
    monkeypatch.setattr(adapted.task.__class__, "infer", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        adapted.predict(TEXTS)
    assert folds == [True]
    assert_equal(adapted.model.state_dict(), before)


def test_threads_wait_for_each_other(tiny, folds):
    adapted = make(tiny)
    expected, found = scores(adapted), []
    threads = [threading.Thread(target=lambda: found.append(scores(adapted))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for each in found:
        torch.testing.assert_close(each, expected)


@pytest.mark.usefixtures("plain_processor")
def test_training_goes_on_after_a_prediction(tiny, folds, messages, monkeypatch):
    """Validation in every epoch folds; what is learned is what would be learned without it."""
    losses = []
    for least in (0, 10**9):
        monkeypatch.setattr(folding, "FOLD_FROM", least)
        adapted = la.adapt(tiny("bert"), "classification", labels=messages)
        history = adapted.fit(messages, validation=messages, epochs=2, args={"disable_tqdm": True, "logging_steps": 1})
        losses.append(torch.tensor([loss for _, loss in history.losses]))
    assert True in folds
    assert torch.equal(*losses)
