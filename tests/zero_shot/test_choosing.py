"""What has no way to answer before it has learned says so; what has one does not."""

from __future__ import annotations

import warnings

import pytest
import torch

import lightadapt as la

TEXTS = ["I want my money back", "hello"]
UNTRAINED = "The head has learned nothing yet, so what it predicts means nothing: "


@pytest.mark.parametrize(
    ("name", "task", "reason"),
    [
        (
            "bert",
            "classification",
            "neither to give vectors that can be compared nor to tell entailment. Train it with",
        ),
        ("bert", "multilabel", "neither to give vectors that can be compared nor to tell entailment"),
        ("llama", "multilabel", "cannot tell which of several hold"),
        ("bart", "multilabel", "cannot tell which of several hold"),
        ("bert", "ner", "task 'ner' cannot be told"),
        ("llama", "ner", "'ner' cannot be told without training. Train it with fit(…), or load(…) what was trained."),
        ("bert", "regression", "'regression' cannot be told without training"),
    ],
)
def test_what_comes_of_a_random_head_is_warned_of_once(tiny, name, task, reason):
    labels = {} if task == "regression" else {"labels": ["A", "B"]}
    adapted = la.adapt(tiny(name), task, **labels)
    with pytest.warns(UserWarning, match=UNTRAINED) as told:
        adapted.predict(TEXTS)
    (message,) = [str(each.message) for each in told if UNTRAINED in str(each.message)]
    assert reason in message
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adapted.predict(TEXTS)


def test_evaluate_warns_too_and_a_head_that_was_trained_does_not(tiny):
    records = [{"text": text, "label": label} for text, label in zip(TEXTS, "AB", strict=True)]
    adapted = la.adapt(tiny("bert"), "classification", labels=["A", "B"])
    with pytest.warns(UserWarning, match=UNTRAINED):
        adapted.evaluate(records)
    other = la.adapt(tiny("bert"), "classification", labels=["A", "B"])
    with torch.no_grad():
        other.model.classifier.bias += 1.0  # as a training loop of one's own would
    fitted = la.adapt(tiny("bert"), "classification")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        other.predict(TEXTS)
        fitted.fit(records, epochs=1)
        fitted.predict(TEXTS)
        la.adapt(tiny("llama"), "generation").predict(TEXTS)


@pytest.mark.parametrize(
    ("name", "task", "reason"),
    [
        ("bert", "classification", r"shots=…: .* can be compared .* Fit on them instead: fit\(shots\)"),
        ("llama", "multilabel", "shots=…: a language model is asked for one label at a time"),
        ("bert", "ner", "shots=…: the answers to task 'ner'"),
    ],
)
def test_shots_are_refused_where_nothing_takes_them(tiny, name, task, reason):
    adapted = la.adapt(tiny(name), task, labels=["A", "B"])
    for ask in (adapted.predict, adapted.evaluate, lambda *given, **how: list(adapted.predict_stream(*given, **how))):
        with pytest.raises(la.LightAdaptError, match=reason):
            ask(TEXTS, shots=[{"text": "hi", "label": "A"}])
    with pytest.raises(la.LightAdaptError, match="shots=…: the head has learned by now"):
        la.adapt(tiny("llama"), "generation").predict(TEXTS, shots=[{"text": "hi", "label": "A"}])


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_a_head_that_has_learned_nothing_is_not_merged(tiny, name):
    adapted = la.adapt(tiny(name), "classification", labels=["A", "B"])
    with pytest.raises(la.LightAdaptError, match="the head of the merged model would be a random one"):
        adapted.merge()
    la.adapt(tiny("llama"), "generation").merge()  # its head is the model's own
