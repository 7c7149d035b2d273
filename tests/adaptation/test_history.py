"""A record of a run as text, table and picture."""

from __future__ import annotations

import sys

import pytest

import lightadapt as la

EPOCHS = [
    {"accuracy": 0.5, "macro_f1": 0.4, "epoch": 1.0, "step": 10},
    {"accuracy": 0.8, "macro_f1": 0.7, "epoch": 2.0, "step": 20},
    {"accuracy": 0.7, "macro_f1": 0.6, "epoch": 3.0, "step": 30},
]
HISTORY = la.History(
    losses=[(5, 2.0), (10, 1.5), (30, 1.0)],
    epochs=EPOCHS,
    best=EPOCHS[1],
    steps=1_282,
    seconds=41.3,
    learning_rates=[(5, 1e-3), (10, 8e-4), (30, 1e-4)],
    passes=3.0,
)


def test_repr_is_one_line():
    assert repr(HISTORY) == "History(3 epochs, 1,282 steps, best accuracy 0.800 at epoch 2, 41 s)"
    assert repr(la.History(steps=3, passes=0.5)) == "History(0.5 epochs, 3 steps, 0 s)"


def test_a_notebook_shows_the_evaluations():
    shown = HISTORY._repr_html_()
    assert shown.count("<tr>") == 4
    assert shown.count(">best</td>") == 1
    assert ">123,456</td>" in la.History(epochs=[{"f1": 0.5, "epoch": 1.0, "step": 123_456}])._repr_html_()
    assert "<table" not in la.History()._repr_html_()


def test_pandas_has_a_row_a_step():
    frame = HISTORY.to_pandas()
    names = ["step", "epoch", "loss", "learning_rate", "validation_accuracy", "validation_macro_f1", "best"]
    assert list(frame.columns) == names
    assert frame["step"].tolist() == [5, 10, 20, 30]
    assert frame["loss"].tolist()[:2] == [2.0, 1.5]
    assert frame["loss"].isna().tolist() == [False, False, True, False]
    assert frame[frame["best"]]["validation_accuracy"].tolist() == [0.8]
    assert len(la.History().to_pandas()) == 0


def test_a_validation_loss_is_no_training_loss():
    history = la.History(losses=[(1, 2.0)], epochs=[{"loss": 1.5, "epoch": 1.0, "step": 1}])
    row = history.to_pandas().iloc[0]
    assert (row["loss"], row["validation_loss"]) == (2.0, 1.5)


def test_what_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(la.LightAdaptError, match=r'needs pandas.*pip install "lightadapt\[plot\]"'):
        HISTORY.to_pandas()
    with pytest.raises(la.LightAdaptError, match=r'need matplotlib.*pip install "lightadapt\[plot\]"'):
        HISTORY.plot()


def test_a_plot_has_what_was_noted(tmp_path):
    figure = HISTORY.plot(tmp_path / "history.svg")
    assert (tmp_path / "history.svg").stat().st_size > 1_000
    assert [axes.get_ylabel() for axes in figure.axes] == ["training loss", "learning rate", "validation accuracy"]
    assert [axes.get_title(loc="right") for axes in figure.axes] == ["", "", "best: 0.8 at step 20 (circled)"]
    without = la.History(losses=HISTORY.losses).plot()
    assert [axes.get_ylabel() for axes in without.axes] == ["training loss"]
    with pytest.raises(la.LightAdaptError, match="nothing to plot"):
        la.History().plot()


def test_a_run_fills_it(classifier, messages):
    history = classifier().fit(messages, messages[:20], epochs=2)
    assert history.passes == 2
    assert [step for step, _ in history.learning_rates] == [step for step, _ in history.losses]
    assert history.to_pandas()["best"].sum() == 1
    assert len(history.plot().axes) == 3
