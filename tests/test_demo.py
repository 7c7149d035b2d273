"""The demo in another language than that of its encoder: with a base that reads it, or not at all."""

from __future__ import annotations

import pytest
from tiny_models import save_chinese_model

import lightadapt as la
from lightadapt import sample
from lightadapt.demo import run_demo


def test_the_demo_in_chinese_runs_through(tmp_path, monkeypatch, capsys):
    model = save_chinese_model(tmp_path / "base")
    monkeypatch.setattr(sample, "RECORDS_PER_INTENT", {"train": 8, "validation": 2, "test": 3})
    run_demo(tmp_path / "demo", epochs=1, language="zh", model=model)
    shown = capsys.readouterr().out
    assert "订单#48213扣了我两次49.90元" in shown
    assert la.load(tmp_path / "demo" / "intents").labels == sorted(sample.INTENTS)
    (first, *_), written = sample.records("test", language="zh"), tmp_path / "demo" / "data" / "test.jsonl"
    assert first["text"] in written.read_text(encoding="utf-8")


def test_the_demo_says_that_its_own_encoder_reads_english(tmp_path):
    with pytest.raises(la.LightAdaptError, match=r"reads English, not 'zh'\. Give one that reads it"):
        run_demo(tmp_path / "demo", epochs=1, language="zh")
    with pytest.raises(la.LightAdaptError, match="Unknown language 'fr'"):
        run_demo(tmp_path / "demo", epochs=1, language="fr")
    assert not (tmp_path / "demo").exists()
