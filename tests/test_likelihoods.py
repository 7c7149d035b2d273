"""The loss of a language model, without the logits of what is not learned: the same value and the same gradients."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import lightadapt as la
from lightadapt.base.memory import _Meter
from lightadapt.tasks.losses import likelihoods
from lightadapt.tasks.losses.likelihoods import log_likelihoods

SIZES = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
PLAIN = {"llama": True, "gpt2": True, "qwen3": True, "gemma2": False, "granite": False, "cohere": False}
"""Whether the model returns what its output layer gives; the others bend or scale it."""


def make(name: str, **more: int):
    sizes = {**SIZES, **more}
    if name == "gpt2":
        sizes = {"vocab_size": sizes["vocab_size"], "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **sizes)
    if name == "granite":
        config.logits_scaling = 3.0
    return AutoModelForCausalLM.from_config(config).eval()


def make_batch(rows: int = 3, length: int = 12, vocabulary: int = 300) -> dict[str, torch.Tensor]:
    """Prompts that are not learned, a row that is padded on the right, and one of which nothing is learned."""
    ids = torch.randint(5, vocabulary, (rows, length), generator=torch.Generator().manual_seed(1))
    mask, labels = torch.ones_like(ids), ids.clone()
    mask[1, -4:] = 0
    labels[:, :5] = labels[1, -4:] = labels[2] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def step(model, loss) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def freeze_output(model) -> None:
    model.get_output_embeddings().requires_grad_(False)


@pytest.mark.parametrize("trained", ["all but the output layer", "all"])
@pytest.mark.parametrize("piece", [1, 300 * 2, 2**24])
@pytest.mark.parametrize("name", PLAIN)
def test_value_and_gradients_are_those_of_the_model(monkeypatch, name, piece, trained):
    monkeypatch.setattr(likelihoods, "PIECE", piece)
    model, batch = make(name), make_batch()
    if trained != "all":
        freeze_output(model)
    expected, gradients = step(model, model(**batch).loss)
    for _ in range(2):  # the first call finds out what the output layer is
        total, counts = log_likelihoods(model, batch, shifted=True)
        found, ours = step(model, -total.sum() / counts.sum())
        torch.testing.assert_close(found, expected)
        assert ours.keys() == gradients.keys()
        for path, gradient in gradients.items():
            torch.testing.assert_close(ours[path], gradient, rtol=1e-4, atol=1e-6, msg=path)
    assert counts.tolist() == [7, 3, 0]
    assert likelihoods._plain.get(model.get_output_embeddings(), PLAIN[name]) == PLAIN[name]


def test_left_padding():
    model, batch = make("llama"), make_batch()
    freeze_output(model)
    shifted = {name: value.roll(4, 1) for name, value in batch.items()}
    shifted["labels"][:, :4] = -100
    shifted["attention_mask"][:, :4] = 0
    total, counts = log_likelihoods(model, shifted, shifted=True)
    torch.testing.assert_close(-total.sum() / counts.sum(), model(**shifted).loss)


def test_nothing_of_a_batch_is_learned():
    model, batch = make("llama"), make_batch()
    freeze_output(model)
    batch["labels"][:] = -100
    total, counts = log_likelihoods(model, batch, shifted=True)
    assert total.tolist() == [0, 0, 0]
    assert counts.tolist() == [0, 0, 0]


def test_no_gradient_is_taken_in_evaluation():
    model, batch = make("llama"), make_batch()
    freeze_output(model)
    with torch.no_grad():
        total, _ = log_likelihoods(model, batch, shifted=True)
    assert not total.requires_grad


def test_the_hooks_are_gone_afterwards():
    model, batch = make("llama"), make_batch()
    freeze_output(model)
    log_likelihoods(model, batch, shifted=True)
    output = model.get_output_embeddings()
    assert not output._forward_hooks
    assert not output._forward_pre_hooks
    with pytest.raises(IndexError):  # a batch that the model refuses
        log_likelihoods(model, {**batch, "input_ids": batch["input_ids"] + 10_000}, shifted=True)
    assert not output._forward_hooks
    assert not output._forward_pre_hooks


def test_the_logits_are_never_there_as_a_whole(monkeypatch):
    monkeypatch.setattr(likelihoods, "PIECE", 2**16)
    model, batch = make("llama", vocab_size=20_000), make_batch(rows=8, length=48, vocabulary=20_000)
    model.requires_grad_(False)
    model.model.norm.requires_grad_(True)
    log_likelihoods(model, batch, shifted=True)
    meter = _Meter([*model.parameters(), *model.buffers()])
    with meter:
        total, _ = log_likelihoods(model, batch, shifted=True)
        total.sum().backward()
    assert meter.peak < 8 * 48 * 20_000 * 4 / 8


@pytest.mark.parametrize("method", ["lora", "prefix", "prompt", "bottleneck", "full"])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_fit_gives_the_losses_of_the_models_own_loss(tiny, monkeypatch, name, method):
    records = [{"prompt": f"Say {word}", "completion": f"{word} it is"} for word in ("red", "blue", "green", "gold")]

    def losses() -> list[float]:
        adapted = la.adapt(tiny(name), "generation", method)
        history = adapted.fit(records * 4, epochs=2, batch_tokens=64, args={"logging_steps": 1, "disable_tqdm": True})
        return [loss for _, loss in history.losses]

    ours = losses()
    monkeypatch.setattr(la.Generation, "objective", lambda *_: None)
    assert ours == pytest.approx(losses(), rel=1e-4)
