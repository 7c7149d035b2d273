"""The measures of learning in steps, against matrices computed by hand."""

from __future__ import annotations

import pytest

from lightadapt.continual.forgetting import StepScores, average_score, backward_transfer, forgetting
from lightadapt.errors import LightAdaptError

FULL = [{0: 0.9}, {0: 0.7, 1: 0.8}, {0: 0.8, 1: 0.6, 2: 1.0}]


def test_average_is_the_mean_of_a_row():
    assert [average_score(FULL, step) for step in range(3)] == pytest.approx([0.9, 0.75, 0.8])


def test_forgetting_is_the_loss_since_the_best_earlier_score():
    assert forgetting(FULL, 0) is None
    assert forgetting(FULL, 1) == pytest.approx(0.9 - 0.7)
    assert forgetting(FULL, 2) == pytest.approx(((0.9 - 0.8) + (0.8 - 0.6)) / 2)


def test_the_best_score_need_not_be_the_first():
    assert forgetting([{0: 0.5}, {0: 0.9, 1: 1.0}, {0: 0.6, 1: 1.0, 2: 1.0}], 2) == pytest.approx((0.3 + 0.0) / 2)


def test_backward_transfer_is_the_change_since_each_step():
    assert backward_transfer(FULL, 0) is None
    assert backward_transfer(FULL, 2) == pytest.approx(((0.8 - 0.9) + (0.6 - 0.8)) / 2)
    assert backward_transfer([{0: 0.5}, {0: 0.9, 1: 1.0}], 1) == pytest.approx(0.4)


def test_what_was_not_scored_has_no_say():
    gaps = [{}, {1: 0.5}, {0: 0.4, 1: 0.3, 2: 0.9}]
    assert average_score(gaps, 0) is None
    assert forgetting(gaps, 2) == pytest.approx(0.2)
    assert backward_transfer(gaps, 2) == pytest.approx(-0.2)


def test_rows_have_old_and_new():
    last = StepScores("accuracy", FULL).rows()[-1]
    assert last == pytest.approx(
        {"step": 2, "new": 1.0, "old": 0.7, "average": 0.8, "forgetting": 0.15, "backward transfer": -0.15}
    )


def test_it_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    figure = StepScores("accuracy", FULL).plot(tmp_path / "steps.png")
    assert (tmp_path / "steps.png").stat().st_size > 1000
    lines = figure.axes[0].get_lines()
    assert [list(line.get_ydata()) for line in lines] == [
        pytest.approx(values) for values in ([0.9, 0.7, 0.8], [0.8, 0.6], [1.0], [0.9, 0.75, 0.8])
    ]
    with pytest.raises(LightAdaptError, match="No step was scored"):
        StepScores("accuracy", [{}, {}]).plot()
