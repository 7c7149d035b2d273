"""A name that looks like a path is never asked of the hub."""

from __future__ import annotations

import pytest
from transformers import AutoConfig, AutoTokenizer

import lightadapt as la


@pytest.fixture
def asked(monkeypatch):
    """The names that were asked for, of which none is there."""
    found = []

    def ask(name, *_, **__):
        found.append(name)
        raise OSError("no such model")

    monkeypatch.setattr(AutoConfig, "from_pretrained", ask)
    return found


@pytest.mark.parametrize(
    "name",
    [
        *("./modls/bert", "../bert", "~/bert", "models/bert-x/checkpoint", "/no/bert", "bert.safetensors"),
        *("runs/last.ckpt", "my model", "models\\bert", "owner/", "a/b/", "bert:main"),
    ],
)
def test_a_path_that_is_not_there_is_refused_at_once(name, asked):
    with pytest.raises(la.LightAdaptError, match="does not exist"):
        la.adapt(name, "classification")
    assert not asked


def test_a_slip_beside_a_model_that_is_there_is_refused(asked, tmp_path, monkeypatch):
    (tmp_path / "models" / "bert-small").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(la.LightAdaptError, match="models/bert-smal does not exist"):
        la.adapt("models/bert-smal", "classification")
    assert not asked
    for name in ("models/gpt", "bert-base-uncased", "Qwen/Qwen2.5-0.5B", "google/flan-t5-small"):
        with pytest.raises(la.LightAdaptError, match="no config on the hub"):
            la.adapt(name, "classification")
    assert len(asked) == 4


def test_the_tokenizer_is_not_asked_for_by_a_path_either(tiny, monkeypatch):
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: pytest.fail("asked"))
    with pytest.raises(la.LightAdaptError, match=r"The tokenizer \./words does not exist"):
        la.adapt(tiny("bert"), "classification", tokenizer="./words")
