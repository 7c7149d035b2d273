"""Attention with a softmax in float32 is the model's own attention, within the rounding of bfloat16."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_models import ARCHITECTURES, ENCODER_DECODERS, LANGUAGE_MODELS

import lightadapt as la
from lightadapt.base import float_softmax

OURS = {"bert", "roberta", "distilbert", "electra", "modernbert", "gpt2", "llama", "granite", "qwen2", "qwen3"}
OURS |= {"bart", "mbart", "pegasus", "marian"}


@pytest.fixture
def both(tiny, bfloat16_processor):
    """The adapted model of a kind, and a copy with the model's own attention."""

    def make(kind):
        torch.manual_seed(0)
        task = "generation" if kind in ENCODER_DECODERS else "classification"
        labels = {} if kind in ENCODER_DECODERS else {"labels": ["A", "B"]}
        ours = la.adapt(tiny(kind), task, device="cpu", **labels).model
        for parameter in ours.parameters():
            if parameter.requires_grad:
                parameter.data.normal_(std=0.1)
        theirs = copy.deepcopy(ours)
        theirs.set_attn_implementation("eager")
        return ours, theirs

    return make


def _batch(model, seed=0):
    """Texts of three lengths, and what is to be learned of them."""
    torch.manual_seed(seed)
    mask = torch.ones(3, 21, dtype=torch.long)
    mask[1, 15:] = mask[2, 4:] = 0
    labels = torch.randint(5, 40, (3, 6)) if model.config.is_encoder_decoder else torch.tensor([0, 1, 1])
    return {"input_ids": torch.randint(5, 40, (3, 21)), "attention_mask": mask, "labels": labels}


@pytest.mark.parametrize("kind", [*ARCHITECTURES, *LANGUAGE_MODELS])
def test_models_whose_attention_is_the_plain_formula_get_it(both, kind):
    ours, _ = both(kind)
    assert (ours.config._attn_implementation == float_softmax.NAME) == (kind in OURS)


@pytest.mark.parametrize("kind", sorted(OURS))
def test_logits_and_gradients_are_as_near_to_the_exact_ones_as_those_of_the_model(both, kind):
    ours, theirs = both(kind)
    exact = copy.deepcopy(theirs).float()
    far = {"ours": 0.0, "theirs": 0.0}
    for seed in range(4):
        expected = _found(exact, seed)
        for name, model in (("ours", ours), ("theirs", theirs)):
            given = _found(model, seed)
            assert given.keys() == expected.keys()
            far[name] += sum(float((given[key] - expected[key]).norm() / expected[key].norm()) for key in given)
    assert far["ours"] <= 1.15 * far["theirs"]
    assert far["ours"] <= 4 * 0.1 * len(expected)


def _found(model, seed):
    """The logits for a batch, and the gradients."""
    model.zero_grad()
    given = model(**_batch(model, seed))
    given.loss.backward()
    gradients = {key: value.grad.float() for key, value in model.named_parameters() if value.grad is not None}
    return {"logits": given.logits.detach().float(), **{key: each for key, each in gradients.items() if each.any()}}


def test_gradients_are_those_of_autograd():
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 4).bfloat16().requires_grad_() for _ in range(3))
    mask = torch.zeros(2, 1, 5, 5).bfloat16()
    mask[1, :, :, 3:] = torch.finfo(torch.bfloat16).min
    given, probabilities = float_softmax.attend(torch.nn.Module(), query, key, value, mask, scaling=0.7)
    weight = torch.randn_like(given)
    (given * weight).sum().backward()
    exact = [each.detach().float().requires_grad_() for each in (query, key, value)]
    expected = torch.softmax(exact[0] @ exact[1].transpose(2, 3) * 0.7 + mask.float(), -1)
    torch.testing.assert_close(probabilities.float(), expected, rtol=0.02, atol=0.01)
    ((expected @ exact[2]).transpose(1, 2) * weight.float()).sum().backward()
    for mine, other in zip((query, key, value), exact, strict=True):
        torch.testing.assert_close(mine.grad.float(), other.grad, rtol=0.05, atol=0.05)


def test_a_merged_model_has_the_kernel_of_transformers(tiny, bfloat16_processor, messages):
    adapted = la.adapt(tiny("bert"), "classification", device="cpu", labels=messages)
    adapted.fit(messages, epochs=1, args={"disable_tqdm": True})
    assert adapted.merge().config._attn_implementation == "sdpa"
    assert adapted.model.config._attn_implementation == float_softmax.NAME
