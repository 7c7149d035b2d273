"""Names stand beside each other and not on each other, however many classes there are and whatever they are called."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from lightadapt.display import figures, html
from lightadapt.display.charts import draw_charts
from lightadapt.display.class_charts import Bars, Matrix, Outcomes
from lightadapt.display.number_charts import Reliability

NAMES = {
    "two": ["no", "yes"],
    "twelve": [f"{'a_long_name_of_a_class_' * 2}{number}" for number in range(12)],
    "banking77": [f"card_payment_wrong_exchange_rate_{number}" for number in range(77)],
    "more than are drawn": [f"class {number}" for number in range(150)],
    "capitals": ["WWWWWWWWWWWWWWWWWWWWWWWWWW", "mmmmmmmmmmmmmmmmmmmmmmmmm", "$x^2$ _{"],
}


@pytest.fixture(params=NAMES)
def drawn(request):
    """A figure with all charts of classes, laid out."""
    names = NAMES[request.param]
    count = len(names)
    counts = np.eye(count, dtype=int) * 12_345 + np.arange(count)
    rows = [{"label": name, "precision": 1.0, "recall": 0.0, "f1": 0.5, "support": 12_345} for name in names]
    charts = [
        Matrix(names, counts),
        Bars.of(rows),
        Outcomes.of(names, np.ones((count, 2, 2), dtype=int)),
        Reliability([(0.1, 0.0, 5), (1.0, 1.0, 2_000)], 0.1),
    ]
    figure = draw_charts(charts, "classification, 12,345 records: accuracy 0.9")
    figure.canvas.draw()
    return figure


def test_no_name_covers_another_and_none_is_cut_off(drawn):
    width, height = figure_size(drawn)
    for axes in drawn.axes:
        for side in (axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [label.get_window_extent() for label in side if label.get_visible() and label.get_text()]
            assert not any(one.overlaps(other) for one, other in pairwise(boxes)), axes.get_title()
            for box in boxes:
                assert min(box.x0, box.y0) >= 0, axes.get_title()
                assert box.x1 <= width
                assert box.y1 <= height


def test_no_chart_reaches_into_another(drawn):
    boxes = [axes.get_tightbbox() for axes in drawn.axes]
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))


def figure_size(figure):
    return figure.get_size_inches() * figure.dpi


def test_of_too_many_classes_the_worst_are_drawn():
    names = [str(number) for number in range(150)]
    counts = np.eye(150, dtype=int)
    counts[149, 3] = 5
    assert {3, 149} <= set(Matrix(names, counts).chosen)
    assert len(Matrix(names, counts).chosen) == 100
    rows = [{"label": n, "precision": 1.0, "recall": 1.0, "f1": float(n) / 150, "support": 1} for n in names]
    assert Bars.of(rows).labels == names[:100]


def test_a_notebook_shows_a_figure_by_itself_and_pyplot_is_left_alone():
    figure, _ = figures.start_figure(x="step", y="loss")
    assert figure._repr_png_().startswith(b"\x89PNG")
    lines = ["from lightadapt.display import figures", "import sys", "figures.empty_figure()"]
    lines.append("print('matplotlib.pyplot' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_texts_are_escaped_and_no_colour_of_text_is_set():
    shown = html.marked("<script>a ⟦b & c⟧ ⟧⟦ d")
    assert "<script>" not in shown
    assert f'<span style="{html.MARK}">b &amp; c</span>' in shown
    assert shown.count("<span") == shown.count("</span>") == 1
    table = html.table(["<i>", "n"], [["<b>", 1]])
    assert "<i>" not in table
    assert "<b>" not in table
    assert ";color:" not in shown + table


def test_facts_are_two_columns():
    shown = html.facts("base       a/b  (BertModel)\nin use     default; also <x>")
    assert shown.count("<tr>") == 2
    assert ">in use</td>" in shown
    assert ">a/b  (BertModel)</td>" in shown
    assert "&lt;x&gt;" in shown
