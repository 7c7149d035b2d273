"""Malformed records and files of every task: each is read as what it says, or ends in an error that names its place."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from lightadapt.tasks import MultipleChoice, Regression

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import malformed
import oracle

sys.path.pop(0)


def test_nothing_malformed_is_changed_in_silence_or_ends_in_an_error_of_others(tmp_path):
    found = [(kind, said) for *_, kind, said in malformed.trials(600, 7, tmp_path)]
    wrong = [each for each in found if each[0] not in malformed.GOOD]
    assert not wrong, wrong[:3]
    counts = Counter(kind for kind, _ in found)
    assert counts["refused"] > 500
    assert counts["read as it is"] > 20
    assert max(len(said) for _, said in found) <= 1_000


@pytest.mark.parametrize(
    ("task", "row", "other"),
    [
        (Regression(), {"text": "a", "label": "1.5"}, {"text": "a ", "label": "1.5"}),
        (Regression(), {"text": "a", "label": 2}, {"text": "a", "label": 2.5}),
        (
            MultipleChoice(),
            {"question": "a", "choices": ["b", "c"], "answer": "B"},
            {"question": "a", "choices": ["b", "c"], "answer": 0},
        ),
    ],
)
def test_the_oracle_sees_what_is_changed(task, row, other):
    examples = task.parse(task.read([row]))
    assert not oracle.difference(task, [row], examples, ())
    assert "but became" in oracle.difference(task, [other], examples, ())
    assert "rows became" in oracle.difference(task, [row, row], examples, ())


def test_the_oracle_is_not_sure_of_what_says_two_things():
    task = Regression()
    examples = task.parse(task.read([{"text": "a", "label": 1}]))
    assert "not sure" in oracle.difference(task, [{"text": "a", "label": "1_0"}], examples, ())
    assert "was ignored" in oracle.difference(task, [{"text": "a", "TEXT_PAIR": "b", "label": 1}], examples, ())
