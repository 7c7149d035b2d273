"""A last block that computes one token gives the head what the whole block gives it."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

import lightadapt as la
from lightadapt.adaptation import one_token, prediction

TEXTS = ["I want my money back", "hello", "the order never came and nobody answers", "Where is the parcel?"]
READ_FIRST = ["bert", "roberta", "distilbert", "electra"]
METHODS = ["lora", "dora", "ia3", "bitfit", "houlsby", "parallel", "layernorm", "loha", "probe", "full"]
TASKS = ["classification", "multilabel", "regression"]


def _made(tiny, model, task="classification", method="lora", **options):
    """An adaptation that has left its start."""
    labels = {} if task == "regression" else {"labels": ["A", "B", "C"]}
    adapted = la.adapt(tiny(model), task, method, dtype="float32", device="cpu", **labels, **options)
    torch.manual_seed(1)
    with torch.no_grad(), adapted.computing("default") as runner:
        for name in sorted(runner.adaptation.all_trained):
            place = runner.model.get_parameter(name)
            place += 0.1 * torch.randn_like(place)
    return adapted


@pytest.fixture
def whole(monkeypatch):
    """Predictions by whole blocks, for comparison."""

    def predict(adapted):
        with monkeypatch.context() as patched:
            patched.setattr(prediction, "reading", lambda *args: nullcontext())
            return _numbers(adapted)

    return predict


def _numbers(adapted):
    found = adapted.predict(TEXTS, scores=True)
    return torch.tensor([list(each.values()) if isinstance(each, dict) else [each] for each in found])


def _tokens_of_last_block(adapted):
    """How many tokens of each text the last block gives while texts are predicted."""
    seen = []
    block = adapted.runner.adaptation.first_stack[-1]

    def note(module, args, output):
        seen.append((output[0] if isinstance(output, tuple) else output).shape[1])

    handle = block.register_forward_hook(note)
    adapted.predict(TEXTS[:1])
    handle.remove()
    return seen[-1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", READ_FIRST)
def test_predictions_are_those_of_whole_blocks(tiny, whole, model, method):
    adapted = _made(tiny, model, method=method)
    expected = whole(adapted)
    torch.testing.assert_close(_numbers(adapted), expected, rtol=1e-5, atol=1e-6)
    assert _tokens_of_last_block(adapted) == 1


@pytest.mark.parametrize("task", TASKS)
def test_of_each_task_that_reads_one_token(tiny, whole, task):
    adapted = _made(tiny, "bert", task)
    torch.testing.assert_close(_numbers(adapted), whole(adapted), rtol=1e-5, atol=1e-6)
    assert _tokens_of_last_block(adapted) == 1


@pytest.mark.parametrize(
    ("model", "task", "method"),
    [
        ("bert", "ner", "lora"),  # reads all tokens
        ("bert", "classification", "prefix"),  # has an attention of its own
        ("modernbert", "classification", "lora"),  # makes queries, keys and values at once
        ("gpt2", "classification", "lora"),  # reads the last token
        ("llama", "classification", "lora"),
        ("deberta-v2", "classification", "lora"),  # does not ask for an attention function
    ],
)
def test_where_more_is_needed_whole_blocks_compute(tiny, model, task, method):
    adapted = _made(tiny, model, task, method)
    assert _tokens_of_last_block(adapted) > 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_head_that_reads_the_mean_is_found_out(tiny, monkeypatch, dtype):
    adapted = la.adapt(tiny("bert"), "classification", device="cpu", labels=["A", "B"], dtype=dtype)
    pooler = adapted.model.base_model.pooler
    monkeypatch.setattr(pooler, "forward", lambda hidden: torch.tanh(pooler.dense(hidden.mean(1))), raising=False)
    assert _tokens_of_last_block(adapted) > 1


def test_a_head_of_zeros_tells_nothing(tiny):
    adapted = _made(tiny, "bert")
    with torch.no_grad():
        saved = [parameter.clone() for parameter in adapted.model.classifier.parameters()]
        for parameter in adapted.model.classifier.parameters():
            parameter.zero_()
        assert _tokens_of_last_block(adapted) > 1
        for parameter, value in zip(adapted.model.classifier.parameters(), saved, strict=True):
            parameter.copy_(value)
    assert _tokens_of_last_block(adapted) == 1


def test_other_models_on_the_same_blocks_compute_all_tokens(tiny):
    adapted = _made(tiny, "bert")
    adapted.add("entities", task="ner", method="lora", labels=["A", "B"])
    expected = adapted.predict(TEXTS, adapter="entities", scores=True)
    adapted.predict(TEXTS)
    runner = adapted.runner
    features, _ = runner.encode_checked(
        *runner.task.read_examples([{"text": TEXTS[0], "label": "A"}], split="train", columns=None)
    )
    with one_token.reading(runner.adaptation, runner.task, features, runner.view):
        assert adapted.predict(TEXTS, adapter="entities", scores=True) == expected


def test_an_error_in_the_middle_leaves_the_model_as_it_was(tiny, monkeypatch):
    adapted = _made(tiny, "bert")
    expected = _numbers(adapted)
    inner = adapted.model.classifier.forward
    monkeypatch.setattr(adapted.model.classifier, "forward", lambda hidden: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        adapted.predict(TEXTS)
    monkeypatch.setattr(adapted.model.classifier, "forward", inner)
    assert torch.equal(_numbers(adapted), expected)
    given = adapted.model.base_model(input_ids=torch.ones(2, 9, dtype=torch.long)).last_hidden_state
    assert given.shape[:2] == (2, 9)


def test_several_adaptations_in_one_pass(tiny, whole):
    adapted = _made(tiny, "bert")
    for name, task in (("b", "classification"), ("c", "multilabel"), ("d", "ner")):
        adapted.add(name, task=task, method="lora", labels=["A", "B", "C"])
    for names in (["default", "b", "c", "b"], ["default", "d", "c", "b"]):
        alone = [adapted.predict([text], adapter=name, scores=True)[0] for text, name in zip(TEXTS, names, strict=True)]
        together = adapted.predict(TEXTS, adapter=names, scores=True)
        for one, other in zip(alone, together, strict=True):
            assert str(one)[:12] == str(other)[:12]
            if isinstance(one, dict):
                assert one == pytest.approx(other, abs=1e-5)
