"""What a run shows of its progress: a bar on a screen, lines in a log."""

from __future__ import annotations

import sys

import pytest

from lightadapt.training import progress, run


@pytest.mark.parametrize(("is_screen", "kind"), [(True, progress.ProgressBar), (False, progress.ProgressLines)])
def test_a_screen_gets_a_bar_and_a_log_gets_lines(monkeypatch, is_screen, kind):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_screen, raising=False)
    assert isinstance(progress.progress_of("ner", tokens_a_step=100), kind)


def test_a_log_has_a_line_for_each_evaluation_and_none_that_is_overwritten(classifier, messages, capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_A_LINE", 0.0)
    fresh = classifier()
    capsys.readouterr()
    fresh.fit(messages, messages, epochs=2)
    said = capsys.readouterr().err
    assert "\r" not in said
    lines = said.splitlines()
    assert [line.startswith("classification, lora: epoch") for line in lines].count(True) == 2
    steps = [line for line in lines if ": step " in line]
    assert len(steps) > 2
    assert all("tokens/s" in line and " left" in line for line in steps)


def test_a_screen_shows_rate_and_loss(classifier, messages, capsys, monkeypatch):
    monkeypatch.setattr(run, "progress_of", progress.ProgressBar)
    classifier().fit(messages, messages, epochs=1, args={"logging_steps": 1})
    said = capsys.readouterr().err
    assert "tokens/s" in said
    assert "epoch 1: accuracy" in said
