"""Malformed records and files of every task: each ends in an error of ours that names its place, soon and in short."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import malformed

sys.path.pop(0)


@pytest.mark.filterwarnings("ignore")
def test_nothing_malformed_ends_in_an_error_of_others(tmp_path):
    found = [(kind, said) for *_, kind, said in malformed.trials(600, 7, tmp_path)]
    wrong = [each for each in found if each[0] not in ("accepted", "refused")]
    assert not wrong, wrong[:3]
    counts = Counter(kind for kind, _ in found)
    assert counts["refused"] > 500
    assert counts["accepted"] > 20
    assert max(len(said) for _, said in found) <= 1_000
